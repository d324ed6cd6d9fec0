"""``elasticnas dataset``: validation data on a server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elasticnas.api_schemas.datasets import DatasetRead
from elasticnas.api_schemas.listing import Sort
from elasticnas.api_schemas.problems import InputError
from elasticnas.cli.annotating import NewName, NewNotes, NewTags, NoTags, annotate
from elasticnas.cli.connection import LOCAL, Server
from elasticnas.cli.identifiers import DatasetId
from elasticnas.cli.json_file import json_object
from elasticnas.cli.list_options import ListOrder, SoughtTag, SoughtText
from elasticnas.cli.lm_eval_options import (
    AnswerFilter,
    LmEvalOptions,
    NumFewshot,
    OptionalLmEvalTask,
    RowLimit,
)
from elasticnas.cli.output import AsJson, err, out, print_json, table
from elasticnas.tasks import METRICS, TASKS, TEXT_CLASSIFICATION
from elasticnas.tasks.kinds import KINDS

if TYPE_CHECKING:
    from elasticnas.service.datasets.rows import DatasetRows

app = typer.Typer(no_args_is_help=True, help="Validation data on a server.")

_TEXTS = typer.Option(
    help="One column, or two separated by a comma for pairs of texts, of language models any "
    "number; default: text; a name with a comma in quotes: '\"a, b\",c', or as a JSON array."
)
_LABEL = typer.Option(
    help="Classes from 0, names of classes, numbers, or which choice is right; default: label."
)
_TASK = typer.Option(
    help=f"What is measured: {', '.join(TASKS)}. Default: {TEXT_CLASSIFICATION.name}."
)
OptionalTextColumns = Annotated[str | None, _TEXTS]
OptionalLabelColumn = Annotated[str | None, _LABEL]
OptionalTask = Annotated[str | None, _TASK]
KindOption = Annotated[
    str | None,
    typer.Option(help=f"Public data as it comes, instead of columns: {', '.join(KINDS)}."),
]
ChoicesColumn = Annotated[
    str | None,
    typer.Option(
        help="Of multiple choice: a column of lists of texts, or a column for each choice, "
        "separated by commas."
    ),
]
FirstLabel = Annotated[
    int, typer.Option(help="The number of the first choice in the labels: 0 or 1.")
]
SettingsOption = Annotated[
    str | None,
    typer.Option(
        metavar="JSON", help="What searches say of the task by default, such as its prompt."
    ),
]
MEASURED_BY = f"Default: the task's first. One of {', '.join(METRICS)}."
LabelNames = Annotated[
    str | None,
    typer.Option(
        help="Text labels in the order of the super-network's classes, separated by commas (a name "
        "with a comma in quotes: '\"Yes, sure\",No') or as a JSON array. Without them, labels are "
        "matched by the super-network's own names."
    ),
]


@dataclass(frozen=True)
class RowsOptions:
    """What the options say of a file of rows."""

    text_columns: str | None
    label_column: str | None
    task: str | None
    kind: str | None
    choices_column: str | None
    first_label: int
    label_names: str | None

    def fields(self) -> dict[str, str]:
        """The fields of a dataset's upload, with the defaults of the command line."""
        fields = {"first_label": str(self.first_label)}
        if self.kind is None:
            chosen = TASKS.find(self.task or TEXT_CLASSIFICATION.name, field="--task")
            fields |= {"task": chosen.name, "text_columns": self.text_columns or "text"}
            if self.label_column is not None or chosen.has_labels:
                fields["label_column"] = self.label_column or "label"
        given = {name: value for name, value in asdict(self).items() if isinstance(value, str)}
        return given | fields

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of the rows' task that their kind brings.

        Raises:
            InputError: there is no such kind.
        """
        return KINDS.find(self.kind, field="--kind").settings if self.kind else {}

    def read(self, file: Path) -> DatasetRows:
        """The rows of a file on this machine.

        Raises:
            InputError: an option, or something in the file, is wrong.
        """
        from elasticnas.service.datasets.reading import columns_asked, read_rows

        fields = self.fields()
        kind = KINDS.find(self.kind, field="--kind") if self.kind else None
        default = TEXT_CLASSIFICATION.name if kind is None else kind.task
        task = TASKS.find(fields.get("task", default), field="--task")
        asked = columns_asked(
            task,
            kind,
            [fields["text_columns"]] if "text_columns" in fields else None,
            fields.get("label_column"),
            None if self.choices_column is None else [self.choices_column],
            None if self.label_names is None else [self.label_names],
        )
        if kind is None:
            asked = replace(asked, first_label=self.first_label)
        return read_rows(file, task=task, asked=asked, kind=kind)


NO_ROWS = RowsOptions(None, None, None, None, None, 0, None)
"""The options of `add` when nothing is said of rows."""
_FILE_OR_TASK = "name a file of rows, or a task of lm-eval by --lm-eval"


@app.command("add")
def add(
    file: Annotated[
        Path | None,
        typer.Argument(
            exists=True, dir_okay=False, help="JSONL, CSV, TSV or Parquet; none with --lm-eval."
        ),
    ] = None,
    text_columns: Annotated[str | None, _TEXTS] = None,
    label_column: Annotated[str | None, _LABEL] = None,
    task: Annotated[str | None, _TASK] = None,
    kind: KindOption = None,
    choices_column: ChoicesColumn = None,
    first_label: FirstLabel = 0,
    task_settings: SettingsOption = None,
    metric: Annotated[str | None, typer.Option(help=MEASURED_BY)] = None,
    label_names: LabelNames = None,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    lm_eval: OptionalLmEvalTask = None,
    num_fewshot: NumFewshot = None,
    limit: RowLimit = None,
    lm_eval_filter: AnswerFilter = None,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """Upload validation data: a file, or the rows of a task of lm-eval."""
    rows = RowsOptions(
        text_columns, label_column, task, kind, choices_column, first_label, label_names
    )
    of_lm_eval = LmEvalOptions(lm_eval, num_fewshot, limit, lm_eval_filter)
    said = {"name": name, "metric": metric, "task_settings": task_settings}
    with _upload(file, rows, of_lm_eval, said) as (path, fields), err.status("uploading"):
        dataset = server.add_dataset(path, fields)
    if as_json:
        print_json(dataset)
        return
    out.print(f"[bold]{dataset.id}[/]  {dataset.name}")
    out.print(f"  {dataset.rows:,} rows{_labels(dataset)}, measured by {dataset.metric}")
    if dataset.label_names is not None and not dataset.label_names_given:
        names = ", ".join(dataset.label_names)
        out.print(
            f"  labels {names[:200]}: a search takes the super-network's classes of these names",
            markup=False,
        )


@contextmanager
def _upload(
    file: Path | None,
    rows: RowsOptions,
    of_lm_eval: LmEvalOptions,
    said: Mapping[str, str | None],
) -> Iterator[tuple[Path, dict[str, str]]]:
    """The file to upload, and the form fields beside it; ``said`` are those of options."""
    given = {field: value for field, value in said.items() if value is not None}
    if of_lm_eval.task is None:
        of_lm_eval.require_none()
        if file is None:
            raise InputError("there is nothing to upload", field="FILE", remedy=_FILE_OR_TASK)
        yield file, {"name": file.stem, **rows.fields(), **given}
        return
    if file is not None or rows != NO_ROWS:
        raise InputError(
            "rows and columns are those of lm-eval's task",
            field="--lm-eval",
            value=of_lm_eval.task,
            remedy="leave out the file, --task, --kind and what else says of columns and labels",
        )
    from elasticnas.client.lm_eval_tasks import write_rows

    task = of_lm_eval.rendered()
    if "task_settings" in given:
        more = json_object(given["task_settings"], field="--task-settings")
        given["task_settings"] = json.dumps({**task.settings, **more})
    if task.note is not None:
        err.print(task.note, markup=False)
    if task.unmeasured:
        err.print(f"not measured here: {', '.join(task.unmeasured)}", markup=False)
    with TemporaryDirectory() as folder:
        write_rows(task, path := Path(folder) / "rows.jsonl")
        yield path, {"name": task.name, **task.fields, **given}


def _labels(dataset: DatasetRead) -> str:
    """How many labels or choices, where the answers are some of a few."""
    if dataset.num_labels == 1:
        return ""
    what = "choices" if dataset.task == "multiple-choice" else "labels"
    return f", {dataset.num_labels} {what}"


@app.command("list")
def list_all(
    task: Annotated[str | None, typer.Option(help="Only those of this task.")] = None,
    text: SoughtText = None,
    tag: SoughtTag = None,
    sort: ListOrder = Sort.NEWEST,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """All datasets, the newest first; or those that are asked for."""
    datasets = list(server.datasets(q=text, tag=tag, task=task, sort=sort))
    if as_json:
        print_json(datasets)
        return
    rows = table("", "id", "name", "task", "metric", "rows", "labels")
    for d in datasets:
        rows.add_row(d.id, d.name, d.task, d.metric, f"{d.rows:,}", str(d.num_labels))
    out.print(rows)


@app.command("show")
def show(dataset: DatasetId, as_json: AsJson = False, server: Server = LOCAL) -> None:
    """One dataset: its rows and columns, and how many rows are of each class."""
    found = server.dataset(dataset)
    if as_json:
        print_json(found)
        return
    out.print(f"[bold]{found.id}[/]  {found.name}")
    out.print(f"  {found.task}, {found.rows:,} rows{_labels(found)}, measured by {found.metric}")
    columns = [*found.text_columns, *(found.choices_columns or ())]
    if found.label_column is not None:
        columns.append(found.label_column)
    out.print(f"  columns {', '.join(columns)}", markup=False)
    if found.class_counts:
        rows = table("", "class", "name", "rows", "share")
        for each in found.class_counts:
            share = f"{100 * each.rows / found.rows:.1f} %"
            rows.add_row(str(each.label), each.name or "", f"{each.rows:,}", share)
        out.print(rows)


@app.command("note")
def note(
    dataset: DatasetId,
    name: NewName = None,
    notes: NewNotes = None,
    tag: NewTags = None,
    no_tags: NoTags = False,
    server: Server = LOCAL,
) -> None:
    """Rename a dataset, write notes and tags on it; what is not given stays."""
    annotate(server, "datasets", dataset, name=name, notes=notes, tags=tag, no_tags=no_tags)


@app.command("delete")
def delete(dataset: DatasetId, server: Server = LOCAL) -> None:
    """Delete a dataset that no search refers to."""
    server.delete("datasets", dataset)
