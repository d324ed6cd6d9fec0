"""Questions to learn from: where in its context each answer starts and ends.

As BERT is fine-tuned for SQuAD (Devlin et al. 2019, section 4.2): every window of a row is an
example of its own, and one that does not hold the whole answer points to its first token. A dataset
keeps the texts of answers: what is learnt is where the first of them is first found.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.elasticity.own_labels import class_losses
from elasticnas.supernet.forward.activation import ActiveSubnet
from elasticnas.supernet.measuring.examples import Inputs, TokenizedExamples
from elasticnas.supernet.measuring.spans import SpanExamples
from elasticnas.supernet.training.distillation import soft_divergence
from elasticnas.supernet.training.rows import TrainingRows
from elasticnas.tasks.question_answering_spans import Windows
from elasticnas.tasks.rows import Rows

_NEVER = -1e4
"""The logit of padding: a share of zero, and no infinity that a product could turn into NaN."""


@dataclass(frozen=True)
class SpanRows(TrainingRows):
    """Windows with the ``spans`` (windows, 2) of their answers: the first token and the last."""

    examples: TokenizedExamples
    spans: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Rows, examples: SpanExamples) -> SpanRows:
        """The windows of rows, in their order.

        Raises:
            InputError: a context does not hold its answer.
        """
        spans = np.zeros((len(examples.tokenized.token_ids), 2), np.int64)
        for row, found in enumerate(examples.rows_in_windows):
            answer = _answer(json.loads(rows.labels[row]), found.context, row)
            if answer is not None:
                spans[list(found.numbers)] = _tokens(found.windows, *answer)
        return cls(examples.tokenized, spans)

    @cached_property
    def lengths(self) -> list[int]:
        """See `TrainingRows.lengths`: of windows."""
        return [len(tokens) for tokens in self.examples.token_ids]

    def inputs(self, rows: Sequence[int]) -> Inputs:
        """See `TrainingRows.inputs`."""
        return self.examples.batch(rows).inputs

    def logits(
        self, active: ActiveSubnet, rows: Sequence[int], device: torch.device
    ) -> torch.Tensor:
        """See `TrainingRows.logits`: (windows, tokens, 2), padding never chosen."""
        logits = active.logits(self.examples.batch(rows).to(device).inputs)
        lengths = torch.tensor([self.lengths[row] for row in rows], device=logits.device)
        is_token = torch.arange(logits.shape[1], device=logits.device) < lengths[:, None]
        return logits.masked_fill(~is_token[..., None], _NEVER)

    def loss_of(self, logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """The mean of the cross-entropies of starts and of ends."""
        spans = torch.as_tensor(self.spans[list(rows)]).to(logits.device)
        return functional.cross_entropy(logits.float(), spans)

    def distance(
        self, student: torch.Tensor, teacher: torch.Tensor, rows: Sequence[int], temperature: float
    ) -> torch.Tensor:
        """See `TrainingRows.distance`: the mean of that of starts and that of ends."""
        del rows
        pairs = zip(student.unbind(-1), teacher.unbind(-1), strict=True)
        return torch.stack([soft_divergence(*pair, temperature) for pair in pairs]).mean()

    def own_losses(
        self,
        active: ActiveSubnet,
        rows: Sequence[int],
        device: torch.device,
        generator: torch.Generator,
    ) -> list[torch.Tensor]:
        """See `TrainingRows.own_losses`."""
        logits = self.logits(active, rows, device)
        return [loss for each in logits.unbind(-1) for loss in class_losses(each, generator)]


def _answer(texts: Sequence[str], context: str, row: int) -> tuple[int, int] | None:
    """The characters of the first answer, its first and one behind its last; None without one."""
    if not texts or not texts[0]:
        return None
    start = context.find(texts[0])
    if start < 0:
        raise InputError(
            f"the context of row {row + 1} does not hold its answer, so there is no span to learn",
            field="label_column",
            value=texts[0][:200],
            remedy="give answers as they stand in the context, letter for letter",
        )
    return start, start + len(texts[0])


def _tokens(windows: Windows, start: int, end: int) -> NDArray[np.int64]:
    """The first and the last token of an answer in each window, (windows, 2); 0, 0 outside."""
    covers = windows.is_context & (windows.ends > start) & (windows.starts < end)
    first = covers.argmax(axis=1)
    last = covers.shape[1] - 1 - covers[:, ::-1].argmax(axis=1)
    numbers = np.arange(len(covers))
    is_whole = (
        covers.any(axis=1)
        & (windows.starts[numbers, first] <= start)
        & (windows.ends[numbers, last] >= end)
    )
    return np.where(is_whole[:, None], np.stack([first, last], axis=1), 0)
