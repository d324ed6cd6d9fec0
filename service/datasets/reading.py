"""From a user's file to checked rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from elasticnas.api_schemas.fields import is_whole
from elasticnas.api_schemas.problems import InputError
from elasticnas.service.datasets.files import read_columns
from elasticnas.service.datasets.rows import DatasetRows
from elasticnas.tasks import Task
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.names import HALVED


def read_rows(
    path: Path,
    *,
    task: Task,
    text_columns: Sequence[str],
    label_column: str,
    label_names: Sequence[str] | None = None,
    most_rows: int | None = None,
) -> DatasetRows:
    """Read and check a JSONL, CSV, tab-separated or Parquet file.

    Text labels become classes, in the order of ``label_names``, or sorted where none are given.

    Raises:
        InputError: naming the column, the line or row, and the value at fault.
    """
    if len(text_columns) not in (1, 2) or len({*text_columns, label_column}) < 1 + len(
        text_columns
    ):
        raise InputError(
            "one or two text columns are needed, different from each other and from the label's",
            field="text_columns",
            value=",".join(text_columns)[:200],
        )
    columns = read_columns(path, [*text_columns, label_column], most_rows=most_rows)
    texts = [_texts(columns, name) for name in text_columns]
    if not texts[0]:
        raise InputError("the dataset is empty", field="file", remedy="send at least one row")
    text_b = texts[1] if len(texts) == 2 else None
    labels, names = task.read_labels(columns, label_column, label_names)
    return DatasetRows(task, texts[0], text_b, labels, names)


def _texts(columns: Columns, name: str) -> list[str]:
    for index, value in enumerate(columns.values[name]):
        if not isinstance(value, str):
            raise columns.fault(name, index, "text", "is not text")
        if not is_whole(value):
            raise columns.fault(
                name,
                index,
                "text",
                HALVED,
                "cut texts between characters, not within an emoji, or leave it out",
            )
    return columns.values[name]
