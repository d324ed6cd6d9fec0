"""``elasticnas train``: fine-tune a LoNAS super-network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from elasticnas.api_schemas.jobs import StepProgress
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.registry import load_plugins
from elasticnas.api_schemas.training import Sampling, TrainingSettings
from elasticnas.cli.connection import OtherServer
from elasticnas.cli.datasets import LabelColumn, LabelNames, TaskOption, TextColumns
from elasticnas.cli.extras import demand_extras
from elasticnas.cli.json_file import read_json
from elasticnas.cli.output import AsJson, err, out
from elasticnas.cli.remote_training import train_remotely
from elasticnas.tasks import TASKS, TEXT_CLASSIFICATION
from elasticnas.tasks.task import ColumnsAsked

if TYPE_CHECKING:
    import torch

    from elasticnas.supernet.methods.step import TrainingData


def train(
    base: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Hugging Face folder of an encoder.")
    ],
    data: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="JSONL, CSV, TSV or Parquet.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder to write the super-network to.")
    ] = None,
    text_columns: TextColumns = "text",
    label_column: LabelColumn = "label",
    task: TaskOption = TEXT_CLASSIFICATION.name,
    label_names: LabelNames = None,
    space: Annotated[
        Path | None,
        typer.Option(exists=True, help="search_space.json.", show_default="LoNAS's three kinds"),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of --epochs.")] = None,
    epochs: Annotated[float, typer.Option(min=0.01)] = 3.0,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    learning_rate: Annotated[float, typer.Option()] = 5e-4,
    warmup: Annotated[float, typer.Option(min=0, max=1, help="Share of the steps.")] = 0.06,
    max_length: Annotated[int, typer.Option(min=4, help="Tokens a row is truncated to.")] = 128,
    lora_rank: Annotated[int, typer.Option(min=1, help="The largest.")] = 8,
    lora_alpha: Annotated[float, typer.Option()] = 16.0,
    sampling: Annotated[
        Literal["random", "alternate"],
        typer.Option(
            help="What a step trains: a random subnet, or by turns that and the maximal one.",
        ),
    ] = "random",
    dropout: Annotated[bool, typer.Option(help="Without it, a step is cheaper.")] = True,
    group_by_length: Annotated[
        bool,
        typer.Option("--group-by-length", help="Batches of rows of like length: less padding."),
    ] = False,
    seed: Annotated[int, typer.Option()] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:<index> or mps.")] = "auto",
    resume: Annotated[bool, typer.Option(help="Go on with what was begun in --output.")] = False,
    dataset: Annotated[
        str | None, typer.Option(help="With --server: a dataset's id, in place of --data.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="With --server: what to call the super-network.")
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="With --server: start it, and do not wait.")
    ] = False,
    as_json: AsJson = False,
    server: OtherServer = None,
) -> None:
    """Fine-tune a LoNAS super-network, ready for 'elasticnas supernet add OUTPUT'.

    Adapters and the head are trained, a random subnet a step; the encoder stays as it is. In short
    runs that leaves the maximal subnet behind: '--sampling alternate' does not. A run that was
    interrupted goes on with --resume, to the very same result.

    With --server it is a job of one of the server's workers, which makes the very same
    super-network and registers it; 'elasticnas job watch' says how such an end is told.
    """
    settings = _settings(
        steps=steps,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        warmup=warmup,
        max_length=max_length,
        sampling=Sampling(sampling),
        dropout=dropout,
        group_by_length=group_by_length,
        seed=seed,
        lora_rank=lora_rank,
        lora_alpha=lora_alpha,
        space=None if space is None else read_json(space, field="--space"),
    )
    if server is not None:
        _refuse(
            "with --server", "its worker decides that", {"--output": output, "--resume": resume}
        )
        columns = {"task": task, "text_columns": text_columns, "label_column": label_column}
        train_remotely(
            server,
            base,
            data,
            dataset,
            request={
                "recipe": "lonas",
                "settings": settings.model_dump(mode="json", exclude_defaults=True),
                "name": name or base.resolve().name,
            },
            columns=columns if label_names is None else {**columns, "label_names": label_names},
            detach=detach,
            as_json=as_json,
        )
        return
    of_server = {"--dataset": dataset, "--name": name, "--detach": detach, "--json": as_json}
    _refuse("without --server", "it is about a job", of_server)
    if data is None or output is None:
        raise InputError(
            "a training on this machine needs this",
            field="--data" if data is None else "--output",
            remedy="name it, or a server with --server",
        )
    demand_extras("worker")
    from elasticnas.cli.configuration import Configuration
    from elasticnas.service.datasets.reading import read_rows
    from elasticnas.service.settings import ProcessSettings
    from elasticnas.supernet.methods.step import TrainingData
    from elasticnas.tasks.names import names_given
    from elasticnas.worker.settings import WorkerSettings

    configuration = Configuration.find()
    load_plugins(configuration.read(ProcessSettings).plugins)
    chosen = TASKS.find(task, field="--task")
    names = names_given([label_names], "--label-names") if label_names else None
    rows = read_rows(
        data,
        task=chosen,
        asked=ColumnsAsked(
            tuple(names_given([text_columns], "--text-columns")),
            label_column,
            None if names is None else tuple(names),
        ),
    )
    labels = rows.num_labels if rows.label_names is None else len(rows.label_names)
    train_with_progress(
        base,
        TrainingData(rows.rows, chosen, labels, rows.label_names),
        output,
        settings,
        resume=resume,
        device=configuration.read(WorkerSettings, {"device": device}).torch_device(),
        console=err,
    )
    out.print(f"super-network in {output}; 'elasticnas supernet add {output}' registers it")


def _settings(**given: object) -> TrainingSettings:
    """The settings of the recipe.

    Raises:
        InputError: one of them cannot be used.
    """
    try:
        return TrainingSettings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        option = "/".join(map(str, first["loc"])).replace("_", "-")
        raise InputError(first["msg"], field=f"--{option}", value=first["input"]) from error


def _refuse(when: str, why: str, options: Mapping[str, object]) -> None:
    """Have none of these options.

    Raises:
        InputError: one was given.
    """
    for name, value in options.items():
        if value:
            raise InputError(f"this has no meaning {when}: {why}", field=name, value=value)


def train_with_progress(
    base: Path,
    data: TrainingData,
    output: Path,
    settings: TrainingSettings,
    *,
    console: Console,
    resume: bool = False,
    device: torch.device | None = None,
) -> Path:
    """LoNAS's recipe, with a bar that shows steps, loss and the time left."""
    from elasticnas.supernet.methods.local import run_recipe

    bar = Progress(
        TextColumn("training"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]}"),
        TimeRemainingColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task("training", total=None, loss="-")
        smoothed: float | None = None

        def show(progress: StepProgress) -> None:
            nonlocal smoothed
            loss = progress.scalars.get("loss", math.nan)
            smoothed = loss if smoothed is None else 0.95 * smoothed + 0.05 * loss
            bar.update(task, total=progress.total, completed=progress.done, loss=f"{smoothed:.3f}")

        return run_recipe(
            "lonas", base, data, output, settings, resume=resume, device=device, on_progress=show
        )
