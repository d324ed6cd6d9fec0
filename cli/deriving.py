"""``elasticnas supernet derive``: a super-network of a fine-tuned model, without training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from elasticnas.api_schemas.jobs import JobRead
from elasticnas.api_schemas.problems import InputError
from elasticnas.cli.connection import OtherServer
from elasticnas.cli.datasets import (
    ChoicesColumn,
    FirstLabel,
    KindOption,
    LabelNames,
    OptionalLabelColumn,
    OptionalTask,
    OptionalTextColumns,
    RowsOptions,
)
from elasticnas.cli.option_values import setting_of
from elasticnas.cli.output import AsJson, err, json_text
from elasticnas.cli.recipe_options import (
    OF_RECIPE,
    DatasetId,
    Detach,
    Device,
    MaxLength,
    Output,
    Resume,
    Seed,
    SupernetName,
    TaskSettingsJson,
)
from elasticnas.cli.searches import follow_to_the_end
from elasticnas.cli.training import (
    Asked,
    Here,
    There,
    object_of,
    run_or_send,
)
from elasticnas.client import Client

EVALUATIONS = 60


def derive(
    base: Annotated[
        Path,
        typer.Option(exists=True, file_okay=False, help="Hugging Face folder of the model."),
    ],
    data: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Calibration rows: JSONL, CSV, TSV, Parquet."
        ),
    ] = None,
    output: Output = None,
    text_columns: OptionalTextColumns = None,
    label_column: OptionalLabelColumn = None,
    task: OptionalTask = None,
    kind: KindOption = None,
    choices_column: ChoicesColumn = None,
    first_label: FirstLabel = 0,
    label_names: LabelNames = None,
    task_settings: TaskSettingsJson = None,
    calibration_rows: Annotated[
        int | None, typer.Option(min=1, help="So many of them.", show_default=OF_RECIPE)
    ] = None,
    max_length: MaxLength = None,
    seed: Seed = 0,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other setting, as JSON or text: 'dropped_blocks=2', 'targets=[0.7,0.5]'.",
        ),
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="With --server: rows with the same columns, on which a search begins at once.",
        ),
    ] = None,
    evaluations: Annotated[
        int, typer.Option(min=1, help="With --validation: how many subnets to evaluate.")
    ] = EVALUATIONS,
    device: Device = "auto",
    resume: Resume = False,
    dataset: DatasetId = None,
    name: SupernetName = None,
    detach: Detach = False,
    as_json: AsJson = False,
    server: OtherServer = None,
) -> None:
    """Make a super-network of a fine-tuned model, without training.

    Heads and neurons are put into the order of their importance on a few hundred rows, so that
    every subnet keeps the best of them; blocks that change least may be left out.

    With --server it is a job of one of the server's workers, which registers what it makes; with
    --validation, too, it is searched at once and the front shown, all in this one command.
    """
    _require_watched(validation, server, detach=detach)
    given = {
        "calibration_rows": calibration_rows,
        "max_length": max_length,
        "seed": seed,
        "task_settings": None if task_settings is None else object_of(task_settings),
        **dict(map(setting_of, setting or ())),
    }
    settings = {option: value for option, value in given.items() if value is not None}
    rows = RowsOptions(
        text_columns, label_column, task, kind, choices_column, first_label, label_names
    )
    searched = None
    if validation is not None and server is not None:  # before any work: a mistake shows at once
        searched = _uploaded(server, validation, rows.fields(), settings.get("task_settings"))
    job = run_or_send(
        Asked("derive", base, data, settings, rows),
        Here(output, device, resume),
        There(server, dataset, name, detach, as_json, shows_result=validation is None),
    )
    if searched is not None and server is not None and job is not None:
        _search(server, job, searched, evaluations, as_json=as_json)


def _require_watched(validation: Path | None, server: Client | None, *, detach: bool) -> None:
    """A search begins once the super-network is there, for which this command waits.

    Raises:
        InputError: it does not wait, or there is no server.
    """
    if validation is None or (server is not None and not detach):
        return
    raise InputError(
        "a server searches on these rows, and begins as soon as it has the super-network",
        field="--validation",
        value=validation,
        remedy="leave out --detach" if detach else "name a server with --server",
    )


def _uploaded(
    server: Client, validation: Path, columns: Mapping[str, str], task_settings: object
) -> str:
    """The id of the dataset of these rows, which are read as the model's are."""
    fields = {"name": validation.stem, **columns}
    if task_settings:
        fields["task_settings"] = json_text(task_settings)
    with err.status("uploading"):
        return server.add_dataset(validation, fields).id


def _search(server: Client, job: JobRead, dataset: str, evaluations: int, *, as_json: bool) -> None:
    """Search what the job has made, and show the front."""
    request = {
        "supernet_id": job.supernet_id,
        "dataset_id": dataset,
        "name": job.name,
        "max_length": job.settings["max_length"],
        "budget": {"evaluations": evaluations},
    }
    search = server.start_search(request)
    follow_to_the_end(server, search.id, as_json)
