"""Extractive question answering: which span of a context answers a question (SQuAD)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.supernets import HeadKind
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.metric import Values
from elasticnas.tasks.metrics import ANSWER_F1, EXACT_MATCH
from elasticnas.tasks.question_answering_labels import read_answers
from elasticnas.tasks.question_answering_rule import golds, score
from elasticnas.tasks.question_answering_spans import SpanRule
from elasticnas.tasks.rows import Labels, Rows
from elasticnas.tasks.settings import FIELD, TaskSettings
from elasticnas.tasks.task import TASKS, ColumnsAsked, Outcomes, Raw, Task

OUTCOME = np.dtype([("is_right", np.bool_), ("f1", np.float64)])
"""Whether a row's span is a right answer, and the largest F1 of its words with one."""

_STRIDE_SHARE = 3


class QuestionAnsweringSettings(TaskSettings):
    """A context that is too long is read in windows of ``max_length`` tokens with the question.

    Defaults are those of Transformers' examples, whose ``max_length`` is 384.
    """

    stride: Annotated[int, Field(ge=0, le=100_000)] | None = Field(
        default=None,
        description="tokens of the context that a window shares with the next; default: a third "
        "of max_length, so 128 of 384",
    )
    max_answer_length: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=30, description="the most tokens of an answer"
    )
    n_best: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=20, description="how many starts and ends of each window are tried"
    )
    null_threshold: Annotated[float, Field(allow_inf_nan=False)] | None = Field(
        default=None,
        description="a row has no answer if the score of none exceeds that of the best answer by "
        "more, as SQuAD 2.0 has it, with 0; default: every row is answered, as in SQuAD 1.1",
    )

    @property
    def rule(self) -> SpanRule:
        """How a span is chosen."""
        return SpanRule(self.n_best, self.max_answer_length, self.null_threshold)

    def shared_tokens(self, max_length: int) -> int:
        """The stride, by default in proportion to the window."""
        return max_length // _STRIDE_SHARE if self.stride is None else self.stride


class QuestionAnswering(Task):
    """A hit is a row whose span is one of its right answers, by SQuAD's rule.

    The first text is the question, the second the context. A label is a JSON list of texts.
    """

    name = "question-answering"
    metrics = (EXACT_MATCH, ANSWER_F1)
    raced = EXACT_MATCH
    probe = "spans"
    label_type = "string"
    head = HeadKind.SPANS
    settings_type = QuestionAnsweringSettings
    nests_labels = True

    def read(self, columns: Columns, asked: ColumnsAsked) -> tuple[Rows, tuple[str, ...] | None]:
        """Questions, contexts and answers."""
        if len(asked.texts) != 2:
            raise InputError(
                f"{self.name} needs the columns of the question and of the context, in this order",
                field="text_columns",
                value=",".join(asked.texts)[:200],
            )
        return super().read(columns, asked)

    def read_labels(
        self, columns: Columns, name: str, label_names: Sequence[str] | None
    ) -> tuple[list[str], None]:
        """A JSON list of the texts of each row's right answers, none of a row without one."""
        if label_names is not None:
            raise InputError("answers are texts and have no other names", field="label_names")
        answers = read_answers(columns, name)
        return [json.dumps(texts, ensure_ascii=False) for texts in answers], None

    def require_length(self, settings: QuestionAnsweringSettings, max_length: int) -> None:
        """A window is longer than what it shares with the next."""
        if settings.shared_tokens(max_length) >= max_length:
            raise InputError(
                f"windows of {max_length} tokens cannot share so many",
                field=f"{FIELD}/stride",
                value=settings.stride,
                remedy="raise max_length, which is the window, or lower the stride",
            )

    def labels(self, rows: Rows, settings: QuestionAnsweringSettings) -> Labels:  # noqa: ARG002
        """The normalised right answers of each row: tuples of texts, shape (rows,)."""
        labels = np.empty(len(rows), dtype=object)
        for index, answers in enumerate(rows.labels.tolist()):
            labels[index] = golds(json.loads(answers))
        return labels

    def outcomes(self, raw: Raw, labels: Labels, _: QuestionAnsweringSettings) -> Outcomes:
        """Of predicted texts (rows,), empty where a row is not answered."""
        scores = [score(text, right) for text, right in zip(raw, labels, strict=True)]
        return np.array(scores, dtype=OUTCOME)

    def values(self, outcomes: Outcomes) -> dict[str, Values]:
        """The share of right rows, and the mean F1."""
        return {
            EXACT_MATCH.name: outcomes["is_right"].mean(axis=-1),
            ANSWER_F1.name: outcomes["f1"].mean(axis=-1),
        }

    def hits(self, outcomes: Outcomes) -> NDArray[np.bool_]:
        """The rows that are answered rightly."""
        return np.asarray(outcomes["is_right"])


QUESTION_ANSWERING = TASKS.register(QuestionAnswering.name, QuestionAnswering())
