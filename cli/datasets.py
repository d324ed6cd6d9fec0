"""``elasticnas dataset``: validation data on a server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from elasticnas.cli.connection import LOCAL, Server
from elasticnas.cli.output import AsJson, err, out, print_json, table
from elasticnas.tasks import METRICS, TASKS, TEXT_CLASSIFICATION
from elasticnas.tasks.kinds import KINDS

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
TextColumns = Annotated[str, _TEXTS]
LabelColumn = Annotated[str, _LABEL]
TaskOption = Annotated[str, _TASK]
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


@app.command("add")
def add(
    file: Annotated[
        Path, typer.Argument(exists=True, dir_okay=False, help="JSONL, CSV, TSV or Parquet.")
    ],
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
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """Upload validation data."""
    fields = {"name": name or file.stem, "first_label": str(first_label)}
    if kind is None:
        chosen = TASKS.find(task or TEXT_CLASSIFICATION.name, field="--task")
        fields |= {"task": chosen.name, "text_columns": text_columns or "text"}
        if label_column is not None or chosen.has_labels:
            fields["label_column"] = label_column or "label"
    else:
        named = {"task": task, "text_columns": text_columns, "label_column": label_column}
        fields |= {"kind": kind, **{key: text for key, text in named.items() if text is not None}}
    if choices_column is not None:
        fields["choices_column"] = choices_column
    if task_settings is not None:
        fields["task_settings"] = task_settings
    if metric is not None:
        fields["metric"] = metric
    if label_names is not None:
        fields["label_names"] = label_names
    with err.status("uploading"):
        dataset = server.add_dataset(file, fields)
    if as_json:
        print_json(dataset)
        return
    out.print(f"[bold]{dataset.id}[/]  {dataset.name}")
    out.print(f"  {dataset.rows:,} rows, {dataset.num_labels} labels, measured by {dataset.metric}")
    if dataset.label_names is not None and not dataset.label_names_given:
        names = ", ".join(dataset.label_names)
        out.print(
            f"  labels {names[:200]}: a search takes the super-network's classes of these names",
            markup=False,
        )


@app.command("list")
def list_all(as_json: AsJson = False, server: Server = LOCAL) -> None:
    """All datasets, the newest first."""
    datasets = list(server.datasets())
    if as_json:
        print_json(datasets)
        return
    rows = table("", "id", "name", "task", "metric", "rows", "labels")
    for d in datasets:
        rows.add_row(d.id, d.name, d.task, d.metric, f"{d.rows:,}", str(d.num_labels))
    out.print(rows)


@app.command("delete")
def delete(
    dataset: Annotated[str, typer.Argument(metavar="DATASET")], server: Server = LOCAL
) -> None:
    """Delete a dataset that no search refers to."""
    server.delete("datasets", dataset)
