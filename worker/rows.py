"""The rows that a measurement asks for, tokenised."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from elasticnas.api_schemas.conditions import Conditions
from elasticnas.supernet.families.family import Family
from elasticnas.supernet.measuring.examples import TokenizedExamples, read_canonical, tokenize
from elasticnas.supernet.measuring.splits import rows_of
from elasticnas.tasks import TASKS


def read_rows(
    path: Path, tokenizer: PreTrainedTokenizerBase, family: Family, conditions: Conditions
) -> TokenizedExamples:
    """The rows of a stored dataset file; of a split only its part."""
    task = TASKS.find(conditions.task, field="task")
    examples = tokenize(
        read_canonical(path), tokenizer, family, task=task, max_length=conditions.max_length
    )
    if conditions.split is None:
        return examples
    return examples.select(rows_of(conditions.split, examples.labels.numpy(), task))
