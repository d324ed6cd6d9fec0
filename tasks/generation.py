"""Generation: what a language model writes behind a prompt, and whether that answers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator

from elasticnas.api_schemas.fields import MAX_NAME
from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks.answer_filters import (
    FILTERS_FIELD,
    NOTHING_IGNORED,
    AnswerFilter,
    Filtered,
    Ignored,
)
from elasticnas.tasks.answers import (
    ANSWER_RULES,
    EXPRESSION_FIELD,
    AnswerRule,
    Expression,
    expression,
)
from elasticnas.tasks.beam_length import BeamLength
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.expressions import LONGEST_EXPRESSION
from elasticnas.tasks.items import TextEncoder
from elasticnas.tasks.metric import Values
from elasticnas.tasks.metrics import EXACT_MATCH
from elasticnas.tasks.prompted import PromptedTask
from elasticnas.tasks.rows import Labels, Rows
from elasticnas.tasks.settings import FIELD, PromptSettings, Text
from elasticnas.tasks.task import TASKS, Outcomes, Raw

OUTCOME = np.dtype([("is_right", np.bool_)])
"""Whether a row's text answers it rightly."""


def _rule(name: str) -> str:
    ANSWER_RULES.find(name, field="answer")
    return name


def _expression(pattern: str) -> str:
    expression(pattern)
    return pattern


StopText = Annotated[Text, Field(min_length=1, max_length=1000)]


class GenerationSettings(PromptSettings):
    """The text follows the prompt without a delimiter, which stands before examples' answers alone.

    It is written greedily, or by beam search, and nothing is drawn.
    """

    max_new_tokens: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=256, description="after so many tokens a text ends by itself"
    )
    beams: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1, description="1: the likeliest token at each step; else beam search"
    )
    beam_length: BeamLength = Field(
        default=BeamLength.ANSWER,
        description="over which tokens the log-probability of a beam is averaged: 'answer', as "
        "Transformers has it since 4.36, or 'prompt_and_answer', as before, with which LoNAS and "
        "Shears were measured",
    )
    stop: Annotated[tuple[StopText, ...], Field(max_length=20)] = Field(
        default=(), description="a text ends before the first of these"
    )
    answer: Annotated[str, Field(max_length=MAX_NAME), AfterValidator(_rule)] | None = Field(
        default=None,
        description="how the answer is read off the text, default 'text', all of it: "
        + ", ".join(ANSWER_RULES),
    )
    answer_expression: (
        Annotated[Text, Field(max_length=LONGEST_EXPRESSION), AfterValidator(_expression)] | None
    ) = Field(
        default=None,
        description="a regular expression instead: its first match, or the first group of that",
    )

    answer_filters: Annotated[tuple[AnswerFilter, ...], Field(max_length=20)] | None = Field(
        default=None,
        description="lm-eval's filters instead, one after the other: {'regex_pattern': ..., "
        "'group_select': 0, 'fallback': '[invalid]'}, 'remove_whitespace', 'lowercase', "
        "'uppercase'; what they leave is compared to the last space",
    )
    ignored: Ignored | None = Field(
        default=None,
        description="with answer_filters: what of answers and labels does not count, as lm-eval's "
        "exact_match has it",
    )
    any_of: bool = Field(
        default=False,
        description="with answer_filters: a label is a JSON array of texts, each of them right",
    )

    @model_validator(mode="after")
    def _one_rule(self) -> GenerationSettings:
        rules = (self.answer, self.answer_expression, self.answer_filters)
        if sum(rule is not None for rule in rules) > 1:
            raise ValueError(f"say one of answer, {EXPRESSION_FIELD} and {FILTERS_FIELD}")
        if self.answer_filters is None and (self.any_of or self.ignored is not None):
            raise ValueError(f"ignored and any_of go with {FILTERS_FIELD}, which may be []")
        return self

    @property
    def rule(self) -> AnswerRule:
        """How an answer is read and compared."""
        if self.answer_filters is not None:
            return Filtered(self.answer_filters, self.ignored or NOTHING_IGNORED, self.any_of)
        if self.answer_expression is not None:
            return Expression(self.answer_expression)
        return ANSWER_RULES[self.answer or "text"]


class Generation(PromptedTask):
    """A hit is a row whose text holds the label's answer."""

    name = "generation"
    metrics = (EXACT_MATCH,)
    raced = EXACT_MATCH
    probe = "generation"
    label_type = "string"
    settings_type = GenerationSettings

    def read_labels(
        self, columns: Columns, name: str, label_names: Sequence[str] | None
    ) -> tuple[Sequence[Any], tuple[str, ...] | None]:
        """Texts, numbers as they are written; ``true`` and ``false`` as JSON writes them."""
        texts, names = super().read_labels(columns, name, label_names)
        values = columns.values[name]
        return [
            text.lower() if isinstance(value, bool) else text
            for text, value in zip(texts, values, strict=True)
        ], names

    def require_length(self, settings: GenerationSettings, max_length: int) -> None:
        """A prompt has a token at least."""
        if settings.max_new_tokens >= max_length:
            raise InputError(
                f"texts of so many tokens leave none for a prompt within max_length, {max_length}",
                field=f"{FIELD}/max_new_tokens",
                value=settings.max_new_tokens,
                remedy="raise max_length, which bounds prompt and text together",
            )

    def prompts(
        self, rows: Rows, settings: GenerationSettings, encoder: TextEncoder, max_length: int
    ) -> list[list[int]]:
        """The token ids of each row's prompt: as many of the last as leave room for the text.

        Raises:
            InputError: there is no room for any, or a prompt has no token.
        """
        self.require_length(settings, max_length)
        room = max_length - settings.max_new_tokens
        texts = [settings.context(rows.row(index)) for index in range(len(rows))]
        encoded = encoder(texts, add_bos=settings.add_bos)
        return [tokens[-room:] or [encoder.begins_with] for tokens in encoded]

    def labels(self, rows: Rows, settings: GenerationSettings) -> Labels:
        """The right answers.

        Raises:
            InputError: a label is none that the rule can read.
        """
        for label in rows.labels.tolist():
            settings.rule.check(label)
        return rows.labels

    def outcomes(self, raw: Raw, labels: Labels, settings: GenerationSettings) -> Outcomes:
        """Of generated texts (rows,)."""
        outcomes = np.empty(len(labels), OUTCOME)
        outcomes["is_right"] = [
            settings.rule.is_right(text, label) for text, label in zip(raw, labels, strict=True)
        ]
        return outcomes

    def values(self, outcomes: Outcomes) -> dict[str, Values]:
        """The share of right rows."""
        return {EXACT_MATCH.name: outcomes["is_right"].mean(axis=-1)}

    def hits(self, outcomes: Outcomes) -> NDArray[np.bool_]:
        """The rows that are answered rightly."""
        return np.asarray(outcomes["is_right"])


GENERATION = TASKS.register(Generation.name, Generation())
