"""``elasticnas dataset``: validation data on a server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from api_schemas.metrics import Metric, Task
from cli.connection import LOCAL, Server
from cli.names import names_of
from cli.output import AsJson, err, out, print_json, table

app = typer.Typer(no_args_is_help=True, help="Validation data on a server.")

TextColumns = Annotated[
    str,
    typer.Option(
        help="One column, or two separated by a comma for pairs of texts; "
        "a name with a comma in quotes: '\"a, b\",c', or as a JSON list."
    ),
]
LabelColumn = Annotated[str, typer.Option(help="Classes from 0, names of classes, or numbers.")]
TaskOption = Annotated[Task, typer.Option(help="What the labels are.")]
LabelNames = Annotated[
    str | None,
    typer.Option(
        help="Text labels in the order of their classes, separated by commas; "
        "a name with a comma in quotes: '\"Yes, sure\",No', or as a JSON list."
    ),
]


@app.command("add")
def add(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="JSONL, CSV, Parquet.")],
    text_columns: TextColumns = "text",
    label_column: LabelColumn = "label",
    task: TaskOption = Task.CLASSIFICATION,
    metric: Annotated[Metric | None, typer.Option(help="Default: the task's first.")] = None,
    label_names: LabelNames = None,
    name: Annotated[str | None, typer.Option(help="What to call it.")] = None,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """Upload validation data."""
    fields = {
        "name": name or file.stem,
        "task": task.value,
        "text_columns": _written(names_of(text_columns, option="--text-columns")),
        "label_column": label_column,
    }
    if metric is not None:
        fields["metric"] = metric.value
    if label_names is not None:
        fields["label_names"] = _written(names_of(label_names, option="--label-names"))
    with err.status("uploading"):
        dataset = server.add_dataset(file, fields)
    if as_json:
        print_json(dataset)
        return
    out.print(f"[bold]{dataset.id}[/]  {dataset.name}")
    out.print(f"  {dataset.rows:,} rows, {dataset.num_labels} labels, measured by {dataset.metric}")


def _written(names: list[str]) -> str:
    """The names as the form takes them; plainly where no name holds what would need quotes."""
    if any(character in name for name in names for character in ',"[\\'):
        return json.dumps(names, ensure_ascii=False)
    return ",".join(names)


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
