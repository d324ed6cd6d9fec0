"""From a user's file to checked rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from api_schemas.metrics import Task
from api_schemas.problems import InputError
from service.datasets.columns import Columns, read_columns
from service.datasets.rows import DatasetRows

LARGEST_CLASS = 100_000
"""A class beyond this is a mistake, not a class: an id column, or a year."""


def read_rows(
    path: Path,
    *,
    task: Task,
    text_columns: Sequence[str],
    label_column: str,
    label_names: Sequence[str] | None = None,
) -> DatasetRows:
    """Read and check a JSONL, CSV or Parquet file.

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
            value=",".join(text_columns),
        )
    columns = read_columns(path, [*text_columns, label_column])
    texts = [_texts(columns, name) for name in text_columns]
    if not texts[0]:
        raise InputError("the dataset is empty", field="file", remedy="send at least one row")
    text_b = texts[1] if len(texts) == 2 else None
    if task is Task.REGRESSION:
        return DatasetRows(task, texts[0], text_b, _targets(columns, label_column))
    labels, names = _classes(columns, label_column, label_names)
    return DatasetRows(task, texts[0], text_b, labels, names)


def _texts(columns: Columns, name: str) -> list[str]:
    for index, value in enumerate(columns.values[name]):
        if not isinstance(value, str):
            raise InputError(
                f"the text in {columns.place(index)} is not text",
                field=name,
                value=_shown(value),
            )
    return columns.values[name]


def _targets(columns: Columns, name: str) -> list[float]:
    targets = []
    for index, value in enumerate(columns.values[name]):
        number = _number(value)
        if number is None or not math.isfinite(number):
            raise _bad_label(columns, name, index, "is not a finite number")
        targets.append(number)
    return targets


def _classes(
    columns: Columns, name: str, label_names: Sequence[str] | None
) -> tuple[list[int], tuple[str, ...] | None]:
    """Class ids, and the names of the classes if they have any."""
    values = columns.values[name]
    for index, value in enumerate(values):
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            raise _bad_label(columns, name, index, "is missing")
    names = tuple(label_names) if label_names is not None else None
    if names is not None and len(set(names)) != len(names):
        raise InputError("two labels have one name", field="label_names", value=",".join(names))
    if names is None and all(isinstance(v, str) and _number(v) is None for v in values):
        names = tuple(sorted(set(values)))
    ids = {label: index for index, label in enumerate(names or ())}
    classes = []
    for index, value in enumerate(values):
        found = ids.get(value) if isinstance(value, str) else None
        classes.append(_class_id(columns, name, index, names) if found is None else found)
    return classes, names


def _class_id(columns: Columns, name: str, index: int, names: tuple[str, ...] | None) -> int:
    value = columns.values[name][index]
    number = _number(value)
    if number is None:
        if names is None:
            raise _bad_label(columns, name, index, "is text where others are numbers")
        raise _bad_label(columns, name, index, f"is none of the label names {', '.join(names)}")
    if not number.is_integer():
        raise _bad_label(columns, name, index, "is not a whole number")
    if number < 0:
        raise InputError(
            f"the label in {columns.place(index)} is negative",
            field=name,
            value=_shown(value),
            remedy="classes count from 0; test sets are often published with -1 for hidden labels",
        )
    if number > LARGEST_CLASS:
        raise _bad_label(columns, name, index, f"is larger than {LARGEST_CLASS}")
    if names is not None and number >= len(names):
        raise _bad_label(columns, name, index, f"is beyond the {len(names)} label names")
    return int(number)


def _number(value: Any) -> float | None:
    """``value`` as a number, or None when it is not one."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) else None


def _bad_label(columns: Columns, name: str, index: int, what: str) -> InputError:
    return InputError(
        f"the label in {columns.place(index)} {what}",
        field=name,
        value=_shown(columns.values[name][index]),
    )


def _shown(value: Any) -> str:
    return repr(value)[:100]
