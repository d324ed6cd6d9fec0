"""Rows of a dataset, tokenised once and cut into batches of little padding."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Required, Self, TypedDict, cast

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from elasticnas.supernet.checkpoint.tokenizer import takes_type_ids
from elasticnas.supernet.families.family import Family
from elasticnas.supernet.forward.packs import Packing
from elasticnas.supernet.measuring.batch_sizes import batch_sizes
from elasticnas.supernet.transfer import sent_to
from elasticnas.tasks import Task
from elasticnas.tasks.rows import Labels, Rows
from elasticnas.tasks.stored_rows import read_rows

CPU_BATCH_COST = 32
"""What a batch costs on a CPU besides its tokens, in tokens: the time of some hundred calls."""


@dataclass(frozen=True)
class LabelledTexts:
    """Rows of a dataset: one text each, or a pair, and a label (a class or a number)."""

    texts: Sequence[str]
    pairs: Sequence[str] | None
    labels: Sequence[float]

    @classmethod
    def of(cls, rows: Rows) -> LabelledTexts:
        """Rows of a task that does not prompt."""
        first, *rest = rows.texts.values()
        return cls(first, rest[0] if rest else None, rows.labels.tolist())

    def __len__(self) -> int:
        return len(self.texts)


class Inputs(TypedDict, total=False):
    """What a model is called with for some rows, padded to the longest or packed.

    Padded, ids are (rows, longest) and ``attention_mask`` (rows, 1, 1, longest), True for a token.
    There is no mask where there is no padding: attention is faster without. Packed, ids are
    (1, tokens), and ``packing`` says where in them each row lies. ``token_type_ids`` are for models
    that take them.
    """

    input_ids: Required[torch.Tensor]
    token_type_ids: torch.Tensor
    attention_mask: torch.Tensor
    position_ids: torch.Tensor
    packing: Packing
    subtree_ends: torch.Tensor


@dataclass(frozen=True)
class Batch:
    """What a model is called with for some rows, and the rows' places in the dataset.

    A probe that needs to know more has a batch of its own.
    """

    inputs: Inputs
    rows: torch.Tensor

    @property
    def tokens(self) -> int:
        """Tokens that a model gives hidden states of, padding included."""
        return self.inputs["input_ids"].numel()

    def to(self, device: torch.device) -> Self:
        """This batch on ``device``."""
        inputs = {
            name: given.to(device) if isinstance(given, Packing) else sent_to(device, given)
            for name, given in cast(dict[str, Any], self.inputs).items()
        }
        return replace(self, inputs=cast(Inputs, inputs), rows=sent_to(device, self.rows))


class Examples(ABC):
    """The rows of a dataset as a probe runs them, and their ``labels`` (rows,).

    A model ``runs_once`` on each batch, unless it reads a beginning and then on, step by step.
    """

    labels: Labels
    runs_once: ClassVar[bool] = True

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def length(self, row: int) -> int:
        """How many tokens a row takes of a batch."""

    @property
    def tokens(self) -> int:
        """The tokens of all rows, without padding."""
        return sum(self.length(row) for row in range(len(self)))

    @property
    def most_batches(self) -> int:
        """Into how many batches they can be cut: one for each row, or for each part of one."""
        return len(self)

    @abstractmethod
    def batch(self, rows: Sequence[int]) -> Batch:
        """These rows as one batch, padded to its longest."""

    @abstractmethod
    def select(self, rows: Sequence[int]) -> Self:
        """These rows alone, in this order."""

    def batches(self, token_budget: int, batch_cost: int = CPU_BATCH_COST) -> list[Batch]:
        """All rows, longest first, in batches of at most ``token_budget`` tokens, padding included.

        ``batch_cost`` is what a batch costs besides its tokens, in tokens (`batch_sizes`). The
        longest come first, so a batch too large for the device's memory shows at once.
        """
        rows = sorted(range(len(self)), key=self.length, reverse=True)
        lengths = [self.length(row) for row in rows]
        batches = []
        for size in self.sizes(lengths, token_budget, batch_cost):
            batches.append(self.batch(rows[:size]))
            rows = rows[size:]
        return batches

    def sizes(self, lengths: Sequence[int], token_budget: int, batch_cost: int) -> list[int]:
        """How many rows each batch takes of rows of these ``lengths``, one behind the other."""
        return batch_sizes(lengths, token_budget, batch_cost)

    def trial(self, token_budget: int) -> Batch:
        """The batch of most tokens that the model is run on."""
        batches = self.batches(token_budget)
        return max(batches, key=lambda batch: batch.inputs["input_ids"].numel())


@dataclass(frozen=True)
class TokenizedExamples(Examples):
    """A whole dataset as token ids, one list per row, each at most ``max_length`` long.

    ``type_ids`` (which text of a pair a token belongs to) are there for models that take them.
    """

    token_ids: list[list[int]]
    type_ids: list[list[int]] | None
    labels: Labels
    pad_id: int
    max_length: int

    def length(self, row: int) -> int:
        """See `Examples.length`."""
        return len(self.token_ids[row])

    def batch(self, rows: Sequence[int], *, pad_to: int | None = None) -> Batch:
        """These rows as one batch, padded to its longest or to ``pad_to``."""
        lengths = [len(self.token_ids[row]) for row in rows]
        width = pad_to or max(lengths)
        inputs: Inputs = {
            "input_ids": _padded([self.token_ids[row] for row in rows], width, self.pad_id)
        }
        if min(lengths) < width:
            # In the shape that attention takes: of any other, Transformers makes one for every
            # batch of every evaluation, and waits for the device to learn whether it must.
            mask = _padded([[1] * length for length in lengths], width, 0).bool()
            inputs["attention_mask"] = mask[:, None, None, :]
        if self.type_ids is not None:
            inputs["token_type_ids"] = _padded([self.type_ids[row] for row in rows], width, 0)
        return Batch(inputs, torch.tensor(rows))

    def select(self, rows: Sequence[int]) -> TokenizedExamples:
        """These rows alone, in this order."""
        return replace(
            self,
            token_ids=[self.token_ids[row] for row in rows],
            type_ids=None if self.type_ids is None else [self.type_ids[row] for row in rows],
            labels=self.labels[np.asarray(rows, dtype=np.intp)],
        )


def read_canonical(path: Path) -> LabelledTexts:
    """The texts of a stored dataset file of a task that does not prompt."""
    return LabelledTexts.of(read_rows(path))


def tokenize(
    rows: LabelledTexts,
    tokenizer: PreTrainedTokenizerBase,
    family: Family,
    *,
    task: Task,
    max_length: int,
) -> TokenizedExamples:
    """Tokenise every row, special tokens included, truncated to ``max_length``."""
    types = takes_type_ids(tokenizer, family)
    encoded = tokenizer(
        list(rows.texts),
        None if rows.pairs is None else list(rows.pairs),
        truncation=True,
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=types,
    )
    return TokenizedExamples(
        token_ids=encoded["input_ids"],
        type_ids=encoded["token_type_ids"] if types else None,
        labels=np.array(rows.labels, dtype=task.label_type),
        pad_id=int(tokenizer.pad_token_id or 0),
        max_length=max_length,
    )


def _padded(rows: Sequence[Sequence[int]], width: int, fill: int) -> torch.Tensor:
    return torch.tensor([[*row, *([fill] * (width - len(row)))] for row in rows])
