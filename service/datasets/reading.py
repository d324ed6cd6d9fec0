"""From a user's file to checked rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from elasticnas.api_schemas.problems import InputError
from elasticnas.service.datasets.files import read_columns
from elasticnas.service.datasets.rows import DatasetRows
from elasticnas.tasks import TASKS, Task
from elasticnas.tasks.kinds import DatasetKind
from elasticnas.tasks.names import names_given, require_names
from elasticnas.tasks.task import ColumnsAsked


def read_rows(
    path: Path,
    *,
    task: Task,
    asked: ColumnsAsked,
    kind: DatasetKind | None = None,
    most_rows: int | None = None,
) -> DatasetRows:
    """Read and check a JSONL, CSV, tab-separated or Parquet file.

    Text labels become classes, in the order of ``label_names``, or sorted where none are given. A
    file of a ``kind`` has that kind's columns.

    Raises:
        InputError: naming the column, the line or row, and the value at fault.
    """
    require_columns_of(task, asked)
    wanted = asked.names if kind is None else kind.columns
    nested = (*asked.choices, *((asked.label,) if task.nests_labels and asked.label else ()))
    columns = read_columns(path, wanted, nested=nested, most_rows=most_rows)
    if kind is not None:
        columns = kind.derived(columns)
    if not columns.values[asked.texts[0]]:
        raise InputError("the dataset is empty", field="file", remedy="send at least one row")
    rows, names = task.read(columns, asked)
    return DatasetRows(task, rows, names)


def columns_asked(
    task: Task,
    kind: DatasetKind | None,
    text_columns: Sequence[str] | None,
    label_column: str | None,
    choices_column: Sequence[str] | None,
    label_names: Sequence[str] | None,
) -> ColumnsAsked:
    """The columns that a request names, or its kind's.

    Raises:
        InputError: a name is unfit; both are there; none is.
    """
    if kind is not None:
        for field, given in (
            ("text_columns", text_columns),
            ("label_column", label_column),
            ("choices_column", choices_column),
            ("label_names", label_names),
        ):
            if given:
                raise InputError(f"a file of the kind {kind.name} says this itself", field=field)
        if task.name != kind.task:
            raise InputError(f"{kind.name} is data of {kind.task}", field="task", value=task.name)
        return kind.asked
    if not text_columns:
        raise InputError("this is needed unless the file is of a kind", field="text_columns")
    choices = [text for text in choices_column or () if text]
    named = [text for text in label_names or () if text]
    return ColumnsAsked(
        texts=tuple(names_given(text_columns, "text_columns")),
        label=require_names([label_column], "label_column")[0] if label_column else None,
        label_names=tuple(names_given(named, "label_names")) if named else None,
        choices=tuple(names_given(choices, "choices_column")) if choices else (),
    )


def require_columns_of(task: Task, asked: ColumnsAsked) -> None:
    """The columns are those that the task has rows of, and differ from each other.

    Raises:
        InputError: naming the field that says one too many, or none.
    """
    if len(set(asked.names)) < len(asked.names) or not 1 <= len(asked.texts) <= (
        task.most_texts or len(asked.texts)
    ):
        many = "text columns" if task.most_texts is None else "one or two text columns"
        raise InputError(
            f"{many} are needed, different from each other and from the label's",
            field="text_columns",
            value=",".join(asked.texts)[:200],
        )
    if task.has_labels and asked.label is None:
        raise InputError(f"{task.name} needs the column of the answers", field="label_column")
    if not task.has_labels and asked.label is not None:
        raise InputError(
            f"{task.name} has no labels",
            field="label_column",
            value=asked.label,
            remedy="leave it out",
        )
    if asked.choices and not task.has_choices:
        having = ", ".join(each.name for each in TASKS.values() if each.has_choices)
        raise InputError(
            f"{task.name} has no choices",
            field="choices_column",
            value=",".join(asked.choices)[:200],
            remedy=f"leave it out, or choose the task {having}",
        )
