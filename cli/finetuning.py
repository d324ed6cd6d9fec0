"""``elasticnas finetune``: a subnet trained on by itself, on a server's worker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from elasticnas.api_schemas.datasets import DatasetRead
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.recipes import FINETUNE, RECIPES
from elasticnas.cli.bounds import Bounds, with_bounds
from elasticnas.cli.connection import LOCAL, Server
from elasticnas.cli.datasets import FirstLabel
from elasticnas.cli.identifiers import SearchId
from elasticnas.cli.jobs import watch_to_the_end
from elasticnas.cli.option_values import setting_of
from elasticnas.cli.output import AsJson, err, json_text, out, print_json
from elasticnas.cli.picking import picked, said_twice
from elasticnas.cli.recipe_options import OF_RECIPE


@with_bounds
def finetune(
    search_id: SearchId,
    number: Annotated[
        int | None, typer.Argument(metavar="SUBNET", help="The subnet's number.")
    ] = None,
    *,
    knee: Annotated[bool, typer.Option("--knee", help="The subnet at the front's knee.")] = False,
    bounds: Bounds,
    data: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Rows to train on, with the columns of the search's dataset: JSONL, CSV, TSV, "
            "Parquet.",
        ),
    ] = None,
    first_label: FirstLabel = 0,
    dataset: Annotated[str | None, typer.Option(help="A dataset's id, in place of --data.")] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimiser steps.", show_default="what epochs take")
    ] = None,
    epochs: Annotated[float | None, typer.Option(show_default=OF_RECIPE)] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, show_default=OF_RECIPE)] = None,
    learning_rate: Annotated[float | None, typer.Option(show_default=OF_RECIPE)] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other setting, as JSON or text: 'trained=adapters', 'temperature=4'.",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the job.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            help="Folder to download the model to.", show_default="SEARCH-SUBNET-finetuned"
        ),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Start it, and do not wait.")] = False,
    as_json: AsJson = False,
    server: Server = LOCAL,
) -> None:
    """Train a subnet on by itself, on a server's worker, and download the model.

    The maximal subnet of its super-network teaches it. The subnet is named as for 'elasticnas
    weights'. What it measures on the search's rows is shown beside what it measured before.
    'elasticnas job watch' says how such an end is told.
    """
    given = {
        "steps": steps,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        **dict(map(setting_of, setting or ())),
    }
    settings = {name: value for name, value in given.items() if value is not None}
    _require_one(data, dataset)
    if number is None:
        number = picked(server, search_id, bounds, knee=knee)
    elif bounds or knee:
        raise said_twice(number)
    target = output or Path(f"{search_id}-{number}-finetuned")
    if target.exists() and not detach:
        raise InputError("the folder is there already", field="--output", value=target)
    if data is not None:
        dataset = _uploaded(server, search_id, data, first_label)
    request: dict[str, Any] = {"dataset_id": dataset, "settings": settings, "name": name}
    job = server.finetune(search_id, number, request)
    if detach:
        print_json(job) if as_json else out.print(job.id)
        return
    watch_to_the_end(server, job.id, as_json=as_json)
    last = list(RECIPES[FINETUNE].steps)[-1]
    with err.status("downloading"):
        server.download_product(job.id, last, target)
    (err if as_json else out).print(str(target))


def _require_one(data: Path | None, dataset: str | None) -> None:
    if (data is None) == (dataset is None):
        raise InputError(
            "a training needs rows: either a file, or a dataset of the server",
            field="--data",
            value=data,
            remedy="give --data FILE, or --dataset ID; see 'elasticnas dataset list'",
        )


def _uploaded(server: Server, search_id: str, data: Path, first_label: int) -> str:
    """The id of a new dataset, of rows that are made as those that the search measures on."""
    like = server.dataset(server.search(search_id).dataset_id)
    with err.status("uploading"):
        fields = {"name": data.stem, "first_label": str(first_label), **_fields(like)}
        return server.add_dataset(data, fields).id


def _fields(like: DatasetRead) -> dict[str, str]:
    """The fields of an upload whose rows have the columns of this dataset."""
    if like.kind is not None:
        return {"kind": like.kind}
    lists = {"text_columns": like.text_columns, "choices_column": like.choices_columns}
    if like.label_names_given:
        lists["label_names"] = like.label_names
    fields = {"task": like.task, "metric": like.metric}
    fields |= {name: json_text(each) for name, each in lists.items() if each is not None}
    if like.label_column is not None:
        fields["label_column"] = like.label_column
    return fields
