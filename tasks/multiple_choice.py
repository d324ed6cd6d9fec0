"""Multiple choice by log-likelihood: which of a row's choices a language model expects most.

The definitions are lm-eval 0.4's (Gao et al., "The Language Model Evaluation Harness"): a choice is
scored by the sum of its tokens' log-probabilities behind the prompt, for ``acc_norm`` divided by
the characters of the choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks.choices import read_answers, read_choices
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.items import Item, TextEncoder, encode_pairs
from elasticnas.tasks.labels import read_classes
from elasticnas.tasks.metric import Values
from elasticnas.tasks.metrics import ACC, ACC_NORM, MEAN_LOG_LIKELIHOOD
from elasticnas.tasks.prompt import CHOICE, Prompt
from elasticnas.tasks.prompted import PromptedTask
from elasticnas.tasks.rows import Labels, Rows
from elasticnas.tasks.settings import FIELD, PromptSettings, PromptText, Text
from elasticnas.tasks.task import (
    TASKS,
    ColumnsAsked,
    Outcomes,
    Raw,
    RowsOfDataset,
    read_texts,
)

OUTCOME = np.dtype(
    [
        ("answer", np.int64),
        ("likeliest", np.int64),
        ("likeliest_norm", np.int64),
        ("log_likelihood", np.float64),
    ]
)
"""The right choice, the likeliest, the same by character, and the right one's log-likelihood."""


class MultipleChoiceSettings(PromptSettings):
    """``{choice}`` stands for the choice in ``continuation``, and in ``prompt`` too.

    With ``{choice}`` in the prompt and a column in the continuation, the same continuation is
    scored behind a context of each choice: the partial evaluation of Trinh & Le 2018, "A Simple
    Method for Commonsense Reasoning", by which Winogrande is measured.
    """

    choices: Annotated[tuple[Text, ...], Field(min_length=2, max_length=1000)] | None = Field(
        default=None,
        description="the choices of every row, where rows have none of their own; default: the "
        "dataset's label_names",
    )
    continuation: PromptText = Field(
        default="{choice}", description="what is scored behind prompt and delimiter"
    )


class MultipleChoice(PromptedTask):
    """A hit is a row whose right choice has the largest log-likelihood."""

    name = "multiple-choice"
    metrics = (ACC, ACC_NORM, MEAN_LOG_LIKELIHOOD)
    raced = ACC
    probe = "choices"
    label_type = "int64"
    has_choices = True
    settings_type = MultipleChoiceSettings
    placeholders = (CHOICE,)

    def read(self, columns: Columns, asked: ColumnsAsked) -> tuple[Rows, tuple[str, ...] | None]:
        """With the choices of each row; without, labels are classes or names of them."""
        if CHOICE in asked.texts:
            raise InputError(
                "in prompts {choice} stands for a choice, and so can be no column of texts",
                field="text_columns",
                value=CHOICE,
                remedy="give the column another name",
            )
        texts = read_texts(columns, asked.texts)
        assert asked.label is not None  # the task has labels
        if not asked.choices:
            classes, names = read_classes(columns, asked.label, asked.label_names)
            return Rows(texts, np.array(classes, np.int64)), names
        if asked.label_names is not None:
            raise InputError(
                "rows that have choices of their own have no label_names", field="label_names"
            )
        choices, called = read_choices(columns, asked.choices)
        answers = read_answers(columns, asked.label, choices, called, asked.first_label)
        return Rows(texts, np.array(answers, np.int64), choices), None

    def num_labels(self, rows: Rows) -> int:
        """The most choices that a row has; without, one more than the largest answer."""
        if rows.choices is None:
            return int(rows.labels.max()) + 1
        return max(len(choices) for choices in rows.choices)

    def settle(self, given: Mapping[str, Any], rows: RowsOfDataset) -> MultipleChoiceSettings:
        """With the names of labels for choices where neither rows nor settings have any."""
        field = f"{FIELD}/choices"
        chosen = dict(given)
        if rows.has_choices and chosen.get("choices") is not None:
            raise InputError("the dataset's rows have choices of their own", field=field)
        names = rows.labels.names
        if not rows.has_choices and chosen.get("choices") is None and names and len(names) > 1:
            chosen["choices"] = tuple(names)
        settings = super().settle(chosen, rows)
        assert isinstance(settings, MultipleChoiceSettings)
        if not rows.has_choices:
            self._require_choices(settings.choices, rows, field)
        known = (*rows.columns, CHOICE)
        Prompt(settings.continuation).require_columns(known, f"{FIELD}/continuation")
        if CHOICE not in (*settings.asked.columns, *Prompt(settings.continuation).columns):
            raise InputError(
                "neither the prompt nor the continuation names {choice}",
                field=f"{FIELD}/continuation",
                value=settings.continuation,
            )
        return settings

    def _require_choices(
        self, choices: Sequence[str] | None, rows: RowsOfDataset, field: str
    ) -> None:
        if choices is None:
            raise InputError(
                "the dataset's rows have no choices",
                field=field,
                remedy="say the choices of all rows, or register the dataset with choices_column",
            )
        if not all(choices):
            raise InputError("a choice is empty", field=field)
        if len(choices) < rows.labels.count:
            raise InputError(
                f"the dataset's labels go up to {rows.labels.count - 1}, and of these choices "
                f"there are {len(choices)}",
                field=field,
            )
        for place, name in enumerate(rows.labels.names or ()):
            if name in choices and choices[place] != name:
                raise InputError(
                    f"the label {name} is class {place} of the dataset, where these have another",
                    field=field,
                    value=", ".join(choices),
                    remedy=f"say them in the dataset's order, {', '.join(rows.labels.names or ())}"
                    ", or register it with label_names in the order of these",
                )

    def items(
        self, rows: Rows, settings: MultipleChoiceSettings, encoder: TextEncoder, max_length: int
    ) -> list[Item]:
        """A sequence for each choice of a row."""
        pairs, counts = [], []
        for index in range(len(rows)):
            choices = _choices(rows, settings, index)
            counts.append(len(choices))
            pairs += [_pair(rows, settings, index, choice) for choice in choices]
        scored = iter(encode_pairs(pairs, encoder, add_bos=settings.add_bos, max_length=max_length))
        return [tuple(next(scored) for _ in range(count)) for count in counts]

    def answered(self, rows: Rows, settings: MultipleChoiceSettings, index: int) -> tuple[str, str]:
        """What is scored of the right choice."""
        choices = _choices(rows, settings, index)
        return _pair(rows, settings, index, choices[int(rows.labels[index])])

    def labels(self, rows: Rows, settings: MultipleChoiceSettings) -> Labels:
        """The right choice, and the characters of each; 0 where a row has no more choices."""
        each = [_choices(rows, settings, index) for index in range(len(rows))]
        most = max(len(choices) for choices in each)
        labels = np.zeros(
            len(rows), np.dtype([("answer", np.int64), ("characters", np.int64, (most,))])
        )
        labels["answer"] = rows.labels
        for index, choices in enumerate(each):
            labels["characters"][index, : len(choices)] = [len(choice) for choice in choices]
        return labels

    def outcomes(self, raw: Raw, labels: Labels, _: MultipleChoiceSettings) -> Outcomes:
        """Of log-likelihoods (rows, choices); what stands behind a row's last choice is ignored.

        Raises:
            ArithmeticError: a choice's log-likelihood is not a number.
        """
        characters = labels["characters"]
        is_choice = characters > 0
        sums = np.where(is_choice, raw[:, : characters.shape[1]].astype(np.float64), -np.inf)
        if np.isnan(sums).any():
            raise ArithmeticError("the subnet's log-likelihoods are not numbers")
        outcomes = np.empty(len(labels), OUTCOME)
        outcomes["answer"] = labels["answer"]
        outcomes["likeliest"] = sums.argmax(axis=1)
        outcomes["likeliest_norm"] = (sums / np.maximum(characters, 1)).argmax(axis=1)
        outcomes["log_likelihood"] = sums[np.arange(len(labels)), labels["answer"]]
        return outcomes

    def values(self, outcomes: Outcomes) -> dict[str, Values]:
        """Both shares of right choices, and the mean log-likelihood of the right one."""
        answer = outcomes["answer"]
        return {
            ACC.name: (outcomes["likeliest"] == answer).mean(axis=-1),
            ACC_NORM.name: (outcomes["likeliest_norm"] == answer).mean(axis=-1),
            MEAN_LOG_LIKELIHOOD.name: outcomes["log_likelihood"].mean(axis=-1),
        }

    def hits(self, outcomes: Outcomes) -> NDArray[np.bool_]:
        """The rows whose likeliest choice is the right one."""
        return np.asarray(outcomes["likeliest"] == outcomes["answer"])


def _pair(rows: Rows, settings: MultipleChoiceSettings, index: int, choice: str) -> tuple[str, str]:
    """A context, and the continuation that a choice of a row is scored by."""
    row = {**rows.row(index), CHOICE: choice}
    return settings.context(row), settings.between + Prompt(settings.continuation).fill(row)


def _choices(rows: Rows, settings: MultipleChoiceSettings, index: int) -> Sequence[str]:
    chosen = settings.choices if rows.choices is None else rows.choices[index]
    assert chosen is not None  # `MultipleChoice.settle` has seen to that
    return chosen


MULTIPLE_CHOICE = TASKS.register(MultipleChoice.name, MultipleChoice())
