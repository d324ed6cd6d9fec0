"""The stored rows that a measurement asks for, tokenised."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from elasticnas.api_schemas.conditions import Conditions
from elasticnas.supernet.measuring.examples import Examples
from elasticnas.supernet.measuring.probes import PROBES
from elasticnas.supernet.measuring.splits import rows_of
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TASKS
from elasticnas.tasks.settings import validated
from elasticnas.tasks.stored_rows import read_rows


def read_examples(
    path: Path, tokenizer: PreTrainedTokenizerBase, supernet: Supernet, conditions: Conditions
) -> Examples:
    """The rows of a stored dataset file, ready to be run; of a split only its part.

    Raises:
        InputError: the task is not known here, or a row cannot be measured under the conditions.
    """
    task = TASKS.find(conditions.task, field="task")
    rows = read_rows(path)
    if conditions.split is not None:
        rows = rows.select(rows_of(conditions.split, rows.labels, task))
    settings = validated(task.settings_type, conditions.settings)
    prepare = PROBES.find(task.probe, field="task").prepare
    return prepare(rows, task, settings, tokenizer, supernet, conditions.max_length)
