"""The rows that a message asks for, tokenised."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerBase

from elasticnas.api_schemas.verification import RowSplit
from elasticnas.supernet.examples import TokenizedExamples, read_canonical, tokenize
from elasticnas.supernet.families.family import Family
from elasticnas.supernet.verification import rows_of
from elasticnas.tasks import Task


def count_rows(path: Path) -> int:
    """How many rows a stored dataset file has, without reading them."""
    return int(pq.read_metadata(path).num_rows)


def read_rows(
    path: Path,
    tokenizer: PreTrainedTokenizerBase,
    family: Family,
    *,
    task: Task,
    max_length: int,
    split: RowSplit | None,
) -> TokenizedExamples:
    """The rows of a stored dataset file; of a ``split`` only its part."""
    examples = tokenize(read_canonical(path), tokenizer, family, task=task, max_length=max_length)
    if split is None:
        return examples
    return examples.select(rows_of(split, examples.labels, task))
