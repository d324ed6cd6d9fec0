"""``elasticnas train``: fine-tune a super-network."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.progress import Progress, TaskID

from elasticnas.api_schemas.jobs import JobRead, StepProgress
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.recipes import RECIPES
from elasticnas.api_schemas.registry import load_plugins
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
from elasticnas.cli.extras import demand_extras
from elasticnas.cli.json_file import read_json
from elasticnas.cli.option_values import setting_of
from elasticnas.cli.output import AsJson, err, out
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
from elasticnas.cli.remote_training import train_remotely
from elasticnas.cli.step_bars import step_bars
from elasticnas.client import Client

if TYPE_CHECKING:
    import torch

    from elasticnas.supernet.methods.step import TrainingData


def train(
    base: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="Hugging Face folder of a model.")
    ],
    data: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="JSONL, CSV, TSV or Parquet.")
    ] = None,
    output: Output = None,
    recipe: Annotated[
        str, typer.Option("--recipe", "--method", help=f"How it is made: {', '.join(RECIPES)}.")
    ] = "lonas",
    text_columns: OptionalTextColumns = None,
    label_column: OptionalLabelColumn = None,
    task: OptionalTask = None,
    kind: KindOption = None,
    choices_column: ChoicesColumn = None,
    first_label: FirstLabel = 0,
    label_names: LabelNames = None,
    task_settings: TaskSettingsJson = None,
    space: Annotated[
        Path | None,
        typer.Option(exists=True, help="search_space.json.", show_default="the recipe's"),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Instead of --epochs.")] = None,
    epochs: Annotated[float | None, typer.Option(min=0.01, show_default=OF_RECIPE)] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, show_default=OF_RECIPE)] = None,
    learning_rate: Annotated[float | None, typer.Option(show_default=OF_RECIPE)] = None,
    warmup: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of the steps.", show_default=OF_RECIPE),
    ] = None,
    max_length: MaxLength = None,
    lora_rank: Annotated[
        int | None, typer.Option(min=1, help="The largest.", show_default=OF_RECIPE)
    ] = None,
    lora_alpha: Annotated[float | None, typer.Option(show_default=OF_RECIPE)] = None,
    sampling: Annotated[
        Literal["random", "alternate", "maximal"] | None,
        typer.Option(
            help="What a step trains: a random subnet, the maximal one, or by turns both.",
            show_default=OF_RECIPE,
        ),
    ] = None,
    dropout: Annotated[
        bool | None,
        typer.Option(
            "--dropout/--no-dropout", help="Without it, a step is cheaper.", show_default=OF_RECIPE
        ),
    ] = None,
    group_by_length: Annotated[
        bool | None,
        typer.Option("--group-by-length", help="Batches of rows of like length: less padding."),
    ] = None,
    seed: Seed = 0,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other setting of the recipe, as JSON or text: 'sparsity=2:4', "
            "'ranks=[16,12,8]'.",
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
    """Fine-tune a super-network, ready for 'elasticnas supernet add OUTPUT'.

    Adapters and a classifier's head are trained, a random subnet a step; the model stays as it is,
    but that 'shears' makes it sparse first. In short runs that leaves the maximal subnet behind:
    '--sampling alternate' does not. A run that was interrupted goes on with --resume, to the very
    same result.

    With --server it is a job of one of the server's workers, which makes the very same
    super-network and registers it; 'elasticnas job watch' says how such an end is told.
    """
    given = {
        "steps": steps,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "warmup": warmup,
        "max_length": max_length,
        "lora_rank": lora_rank,
        "lora_alpha": lora_alpha,
        "sampling": sampling,
        "dropout": dropout,
        "group_by_length": group_by_length,
        "seed": seed,
        "space": None if space is None else read_json(space, field="--space"),
        "task_settings": None if task_settings is None else object_of(task_settings),
        **dict(map(setting_of, setting or ())),
    }
    given = {name: value for name, value in given.items() if value is not None}
    rows = RowsOptions(
        text_columns, label_column, task, kind, choices_column, first_label, label_names
    )
    run_or_send(
        Asked(recipe, base, data, given, rows),
        Here(output, device, resume),
        There(server, dataset, name, detach, as_json),
    )


@dataclass(frozen=True)
class Asked:
    """A recipe, the model and the rows it begins with, and its settings that were ``given``."""

    recipe: str
    base: Path
    data: Path | None
    given: dict[str, Any]
    rows: RowsOptions


@dataclass(frozen=True)
class Here:
    """What is about a recipe on this machine."""

    output: Path | None
    device: str
    resume: bool


@dataclass(frozen=True)
class There:
    """What is about a recipe as a server's job."""

    server: Client | None
    dataset: str | None
    name: str | None
    detach: bool
    as_json: bool
    shows_result: bool = True


def run_or_send(asked: Asked, here: Here, there: There) -> JobRead | None:
    """Run a recipe on this machine, or have a server's worker do it.

    Returns:
        The server's job, as it ended or, detached, as it begins.

    Raises:
        InputError: an option has no meaning there, or something cannot be used.
    """
    if asked.recipe in RECIPES:  # one that only a server or a plugin knows is checked there
        _settings(asked.recipe, asked.given)
    if there.server is not None:
        only_here = {"--output": here.output, "--resume": here.resume}
        _refuse("with --server", "its worker decides that", only_here)
        name = there.name or asked.base.resolve().name
        return train_remotely(
            there.server,
            asked.base,
            asked.data,
            there.dataset,
            request={"recipe": asked.recipe, "settings": asked.given, "name": name},
            columns=asked.rows.fields(),
            detach=there.detach,
            as_json=there.as_json,
            shows_result=there.shows_result,
        )
    of_server = {
        "--dataset": there.dataset,
        "--name": there.name,
        "--detach": there.detach,
        "--json": there.as_json,
    }
    _refuse("without --server", "it is about a job", of_server)
    _run_here(asked, here)
    return None


def _run_here(asked: Asked, here: Here) -> None:
    if asked.data is None or here.output is None:
        raise InputError(
            "on this machine this is needed",
            field="--data" if asked.data is None else "--output",
            remedy="name it, or a server with --server",
        )
    demand_extras("worker")
    from elasticnas.cli.configuration import Configuration
    from elasticnas.service.settings import ProcessSettings
    from elasticnas.supernet.methods.step import TrainingData
    from elasticnas.worker.settings import WorkerSettings

    configuration = Configuration.find()
    load_plugins(configuration.read(ProcessSettings).plugins)
    given = asked.given
    if asked.rows.settings:
        of_kind = {**asked.rows.settings, **given.get("task_settings", {})}
        given = {**given, "task_settings": of_kind}
    settings = _settings(asked.recipe, given)
    found = asked.rows.read(asked.data)
    labels = found.num_labels if found.label_names is None else len(found.label_names)
    train_with_progress(
        asked.recipe,
        asked.base,
        TrainingData(found.rows, found.task, labels, found.label_names),
        here.output,
        settings,
        resume=here.resume,
        device=configuration.read(WorkerSettings, {"device": here.device}).torch_device(),
        console=err,
    )
    made = here.output
    out.print(f"super-network in {made}; 'elasticnas supernet add {made}' registers it")


def object_of(text: str) -> Any:
    """The value of an option that is JSON.

    Raises:
        InputError: it is none.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise InputError(f"this is not JSON: {error}", field="--task-settings") from error


def _settings(recipe: str, given: Mapping[str, Any]) -> BaseModel:
    """The settings of the recipe.

    Raises:
        InputError: there is no such recipe, or one of them cannot be used.
    """
    try:
        return RECIPES.find(recipe, field="--recipe").settings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-") if first["loc"] else "set"
        value = first["input"] if first["loc"] else None
        detail = first["msg"].removeprefix("Value error, ")
        raise InputError(detail, field=f"--{option}", value=value) from error


def _refuse(when: str, why: str, options: Mapping[str, object]) -> None:
    """Have none of these options.

    Raises:
        InputError: one was given.
    """
    for name, value in options.items():
        if value:
            raise InputError(f"this has no meaning {when}: {why}", field=name, value=value)


def train_with_progress(
    recipe: str,
    base: Path,
    data: TrainingData,
    output: Path,
    settings: BaseModel,
    *,
    console: Console,
    resume: bool = False,
    device: torch.device | None = None,
) -> Path:
    """A recipe, with a bar for each step that shows its units, its loss and the time left."""
    from elasticnas.supernet.methods.local import run_recipe

    bar = step_bars(console)
    with bar:
        shown = _Bars(bar)
        return run_recipe(
            recipe,
            base,
            data,
            output,
            settings,
            resume=resume,
            device=device,
            on_progress=shown.show,
        )


class _Bars:
    """One bar for each step of a recipe; what a step watches is smoothed."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._smoothed: dict[str, float] = {}
        self._task: TaskID | None = None
        self._done = math.inf

    def show(self, told: StepProgress) -> None:
        """A unit of the step in hand is done; fewer than before are those of the next step."""
        if self._task is None or told.done <= self._done:
            names = " ".join(told.scalars) or "working"
            self._task = self._progress.add_task(names, total=None, watched="")
            self._smoothed = {}
        self._done = told.done
        for name, value in told.scalars.items():
            before = self._smoothed.get(name, value)
            self._smoothed[name] = 0.95 * before + 0.05 * value
        watched = ", ".join(f"{name} {value:.3f}" for name, value in self._smoothed.items())
        self._progress.update(self._task, total=told.total, completed=told.done, watched=watched)
