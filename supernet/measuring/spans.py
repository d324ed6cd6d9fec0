"""Questions with their contexts in windows, and the spans by which a subnet answers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import BatchEncoding, PreTrainedTokenizerBase

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.tokenizer import takes_type_ids
from elasticnas.supernet.families.family import Family
from elasticnas.supernet.forward.activation import ActiveSubnet
from elasticnas.supernet.measuring.examples import Batch, Examples, TokenizedExamples
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import Task
from elasticnas.tasks.question_answering import QuestionAnsweringSettings
from elasticnas.tasks.question_answering_spans import SpanRule, Windows
from elasticnas.tasks.rows import Labels, Rows
from elasticnas.tasks.settings import FIELD, TaskSettings

_CONTEXT = 1
"""What a tokenizer calls the second text of a pair."""


@dataclass(frozen=True)
class RowInWindows:
    """The windows of a row, their ``numbers`` among those of all rows, and its context's text."""

    numbers: tuple[int, ...]
    windows: Windows
    context: str

    @property
    def tokens(self) -> int:
        """Tokens of its longest window."""
        return int(self.windows.is_token.shape[1])


@dataclass(frozen=True)
class SpanBatch(Batch):
    """All windows of some rows, a row's behind each other, and what tells their answers."""

    rows_in_windows: tuple[RowInWindows, ...]
    rule: SpanRule


@dataclass(frozen=True)
class SpanExamples(Examples):
    """Rows in windows. A row is never cut: its answer is the best of all its windows.

    ``tokenized`` are the windows of all rows of the dataset, each as a row of its own.
    """

    tokenized: TokenizedExamples
    rows_in_windows: tuple[RowInWindows, ...]
    labels: Labels
    rule: SpanRule

    def length(self, row: int) -> int:
        """The tokens of all its windows, padded to the longest."""
        found = self.rows_in_windows[row]
        return len(found.numbers) * found.tokens

    def select(self, rows: Sequence[int]) -> SpanExamples:
        """These rows alone, in this order."""
        return replace(
            self,
            rows_in_windows=tuple(self.rows_in_windows[row] for row in rows),
            labels=self.labels[np.asarray(rows, dtype=np.intp)],
        )

    def batch(self, rows: Sequence[int]) -> SpanBatch:
        """These rows as one batch, padded to the longest window."""
        chosen = tuple(self.rows_in_windows[row] for row in rows)
        numbers = [number for row in chosen for number in row.numbers]
        inputs = self.tokenized.batch(numbers).inputs
        return SpanBatch(inputs, torch.tensor(rows), chosen, self.rule)


def prepare(
    rows: Rows,
    task: Task,
    settings: TaskSettings,
    tokenizer: PreTrainedTokenizerBase,
    supernet: Supernet,
    max_length: int,
) -> SpanExamples:
    """Question and context of each row, in windows of ``max_length`` tokens where they are longer.

    Raises:
        InputError: a question leaves a window no room for more of the context than the stride, or
            the tokenizer does not say where in a text its tokens are.
    """
    return in_windows(rows, task, settings, tokenizer, supernet.family, max_length)


def in_windows(
    rows: Rows,
    task: Task,
    settings: TaskSettings,
    tokenizer: PreTrainedTokenizerBase,
    family: Family,
    max_length: int,
) -> SpanExamples:
    """See `prepare`: of a model of this family."""
    assert isinstance(settings, QuestionAnsweringSettings)
    questions, contexts = (list(texts) for texts in rows.texts.values())
    questions = [question.lstrip() for question in questions]  # some of SQuAD's are mostly spaces
    stride = settings.shared_tokens(max_length)
    _require_room(rows, questions, contexts, tokenizer, max_length, stride)
    types = takes_type_ids(tokenizer, family)
    encoded = tokenizer(
        questions,
        contexts,
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        padding=False,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_attention_mask=False,
        return_token_type_ids=types,
    )
    windows = TokenizedExamples(
        token_ids=encoded["input_ids"],
        type_ids=encoded["token_type_ids"] if types else None,
        labels=np.zeros(len(encoded["input_ids"])),
        pad_id=int(tokenizer.pad_token_id or 0),
        max_length=max_length,
    )
    found = _in_windows(encoded, contexts)
    return SpanExamples(windows, found, task.labels(rows, settings), settings.rule)


def answers(active: ActiveSubnet, batch: Batch) -> list[str]:
    """The text that answers each row, empty where none does.

    Raises:
        ArithmeticError: a logit is not a number.
    """
    assert isinstance(batch, SpanBatch)
    logits = active.logits(batch.inputs).float().cpu().numpy()
    if not np.isfinite(logits).all():
        raise ArithmeticError("the subnet's logits are not numbers")
    found, first = [], 0
    for row in batch.rows_in_windows:
        last = first + len(row.numbers)
        starts, ends = np.moveaxis(logits[first:last, : row.tokens], -1, 0)
        begin, end = batch.rule.span(row.windows, starts, ends)
        found.append(row.context[begin:end])
        first = last
    return found


def _require_room(
    rows: Rows,
    questions: Sequence[str],
    contexts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    stride: int,
) -> None:
    """A window goes on in its context wherever that does not fit into one."""
    if not tokenizer.is_fast:
        raise InputError(
            "the tokenizer does not say where in a text its tokens are",
            field="base/tokenizer.json",
            remedy="save the tokenizer with tokenizer.json, as AutoTokenizer does",
        )
    special = tokenizer.num_special_tokens_to_add(pair=True)
    asked = tokenizer(list(questions), add_special_tokens=False)["input_ids"]
    for row, (question, context) in enumerate(zip(asked, contexts, strict=True)):
        room = max_length - special - len(question)
        if room > stride:
            continue
        if len(tokenizer(context, add_special_tokens=False)["input_ids"]) > room:
            raise InputError(
                f"the question of row {rows.number(row)} has {len(question)} tokens, and leaves "
                f"{max(room, 0)} of a window's {max_length} for its context, of which windows "
                f"share {stride}",
                field=f"{FIELD}/stride",
                value=stride,
                remedy="raise max_length, which is the window, or lower the stride",
            )


def _in_windows(encoded: BatchEncoding, contexts: Sequence[str]) -> tuple[RowInWindows, ...]:
    numbers: list[list[int]] = [[] for _ in contexts]
    for number, row in enumerate(encoded["overflow_to_sample_mapping"]):
        numbers[row].append(number)
    return tuple(
        RowInWindows(tuple(each), _windows(encoded, each), context)
        for each, context in zip(numbers, contexts, strict=True)
    )


def _windows(encoded: BatchEncoding, numbers: Sequence[int]) -> Windows:
    """Where the tokens of a row's windows are, padded to the longest."""
    offsets = [np.array(encoded["offset_mapping"][number]) for number in numbers]
    shape = len(numbers), max(map(len, offsets))
    places = np.zeros((*shape, 2), np.int64)
    is_context, is_token = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    for window, (number, found) in enumerate(zip(numbers, offsets, strict=True)):
        tokens = len(found)
        places[window, :tokens], is_token[window, :tokens] = found, True
        is_context[window, :tokens] = [t == _CONTEXT for t in encoded.sequence_ids(number)]
    return Windows(places[..., 0], places[..., 1], is_context, is_token)
