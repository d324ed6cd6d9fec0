"""``elasticnas supernet derive``: a super-network of a fine-tuned model, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
from elasticnas.cli.output import AsJson
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
from elasticnas.cli.training import (
    Asked,
    Here,
    There,
    object_of,
    run_or_send,
    setting_of,
)


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

    With --server it is a job of one of the server's workers, which registers what it makes.
    """
    given = {
        "calibration_rows": calibration_rows,
        "max_length": max_length,
        "seed": seed,
        "task_settings": None if task_settings is None else object_of(task_settings),
        **dict(map(setting_of, setting or ())),
    }
    run_or_send(
        Asked(
            "derive",
            base,
            data,
            {option: value for option, value in given.items() if value is not None},
            RowsOptions(
                text_columns, label_column, task, kind, choices_column, first_label, label_names
            ),
        ),
        Here(output, device, resume),
        There(server, dataset, name, detach, as_json),
    )
