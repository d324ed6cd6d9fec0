"""Labelled texts, tokenised once and cut into batches of little padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq
import torch
from transformers import PreTrainedTokenizerBase

from api_schemas.metrics import Task
from supernet.architectures import Architecture


@dataclass(frozen=True)
class LabelledTexts:
    """Rows of a dataset: one text each, or a pair, and a label (a class or a number)."""

    texts: list[str]
    pairs: list[str] | None
    labels: list[int] | list[float]

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class Batch:
    """Token ids and masks, each of shape (rows, longest), with the rows' places in the dataset."""

    inputs: dict[str, torch.Tensor]
    rows: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """This batch on ``device``."""
        return Batch({name: t.to(device) for name, t in self.inputs.items()}, self.rows.to(device))


@dataclass(frozen=True)
class TokenizedExamples:
    """A whole dataset as token ids, one list per row, each at most ``max_length`` long.

    ``type_ids`` (which text of a pair a token belongs to) are there for models that take them.
    """

    token_ids: list[list[int]]
    type_ids: list[list[int]] | None
    labels: torch.Tensor
    pad_id: int
    max_length: int

    def __len__(self) -> int:
        return len(self.token_ids)

    def batch(self, rows: Sequence[int], *, pad_to: int | None = None) -> Batch:
        """These rows as one batch, padded to its longest or to ``pad_to``."""
        width = pad_to or max(len(self.token_ids[row]) for row in rows)
        inputs = {
            "input_ids": _padded([self.token_ids[row] for row in rows], width, self.pad_id),
            "attention_mask": _padded([[1] * len(self.token_ids[row]) for row in rows], width, 0),
        }
        if self.type_ids is not None:
            inputs["token_type_ids"] = _padded([self.type_ids[row] for row in rows], width, 0)
        return Batch(inputs, torch.tensor(rows))

    def select(self, rows: Sequence[int]) -> TokenizedExamples:
        """These rows alone, in this order."""
        return replace(
            self,
            token_ids=[self.token_ids[row] for row in rows],
            type_ids=None if self.type_ids is None else [self.type_ids[row] for row in rows],
            labels=self.labels[list(rows)],
        )

    def batches(self, token_budget: int) -> list[Batch]:
        """All rows, longest first, in batches of at most ``token_budget`` tokens, padding included.

        Sorting by length leaves next to no padding; the longest come first, so a batch too large
        for the device's memory shows at once.
        """
        order = sorted(range(len(self)), key=lambda row: len(self.token_ids[row]), reverse=True)
        batches, start = [], 0
        while start < len(order):
            longest = len(self.token_ids[order[start]])
            count = max(1, token_budget // longest)
            batches.append(self.batch(order[start : start + count]))
            start += count
        return batches


def read_canonical(path: Path) -> LabelledTexts:
    """The dataset file that the service stores: Parquet with text_a, text_b and label columns."""
    table = pq.read_table(path).to_pydict()
    pairs = table["text_b"]
    return LabelledTexts(
        texts=table["text_a"],
        pairs=None if all(text is None for text in pairs) else pairs,
        labels=table["label"],
    )


def tokenize(
    rows: LabelledTexts,
    tokenizer: PreTrainedTokenizerBase,
    architecture: Architecture,
    *,
    task: Task,
    max_length: int,
) -> TokenizedExamples:
    """Tokenise every row, special tokens included, truncated to ``max_length``."""
    encoded = tokenizer(
        rows.texts,
        rows.pairs,
        truncation=True,
        max_length=max_length,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=architecture.type_ids,
    )
    return TokenizedExamples(
        token_ids=encoded["input_ids"],
        type_ids=encoded["token_type_ids"] if architecture.type_ids else None,
        labels=torch.tensor(
            rows.labels, dtype=torch.float64 if task is Task.REGRESSION else torch.int64
        ),
        pad_id=int(tokenizer.pad_token_id or 0),
        max_length=max_length,
    )


def _padded(rows: Sequence[Sequence[int]], width: int, fill: int) -> torch.Tensor:
    return torch.tensor([[*row, *([fill] * (width - len(row)))] for row in rows])
