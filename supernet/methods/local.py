"""Running a recipe in this process, with its save points in the output folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from pydantic import BaseModel

from elasticnas.api_schemas.jobs import StepProgress
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.recipes import RECIPES
from elasticnas.supernet.methods.step import StepRun, TrainingData, find_step

WORK = ".steps"
"""The folder in the output folder that holds save points until the recipe is done."""
SETTINGS = "settings.json"
"""The file in that folder with the settings that the recipe was begun with."""


def run_recipe(
    recipe: str,
    base: Path,
    data: TrainingData,
    output: Path,
    settings: BaseModel,
    *,
    resume: bool = False,
    device: torch.device | None = None,
    on_progress: Callable[[StepProgress], None] = lambda _: None,
) -> Path:
    """Make a super-network of the pretrained model in ``base``, as a checkpoint in ``output``.

    A run that was interrupted goes on with ``resume``, to the very same result.

    Args:
        base: Hugging Face folder of the pretrained model.
        output: a folder that does not exist yet, or (with ``resume``) one that was begun before.

    Returns:
        ``output``.

    Raises:
        InputError: the base model or a setting cannot be used, the output folder is in the way, or
            what is resumed was begun with other settings.
    """
    if output.exists() and not resume:
        raise InputError(
            "the output folder is there already",
            field="output",
            value=output,
            remedy="choose another folder, or resume the training that was begun there",
        )
    _require_settings(output / WORK, settings)
    source = base
    for name, path in RECIPES.find(recipe, field="recipe").steps.items():
        made = output / WORK / name
        if not made.is_dir():
            run = StepRun(
                settings=settings,
                source=source,
                data=data,
                output=_emptied(made.with_name(f"{name}-unfinished")),
                saved=_latest(output / WORK, name),
                device=device or torch.device("cpu"),
                tell=on_progress,
                keep=partial(_keep, made),
                must_stop=lambda: False,
            )
            find_step(path)(run)
            run.output.replace(made)
        source = made
    for entry in source.iterdir():
        entry.replace(output / entry.name)
    shutil.rmtree(output / WORK)
    return output


def _require_settings(work: Path, settings: BaseModel) -> None:
    """What is resumed must have been begun with these settings, on which its result depends."""
    file, now = work / SETTINGS, settings.model_dump(mode="json")
    if not file.is_file():
        work.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(now), encoding="utf-8")
        return
    begun = json.loads(file.read_text(encoding="utf-8"))
    if changed := sorted(name for name in {*begun, *now} if begun.get(name) != now.get(name)):
        raise InputError(
            "the training was begun with other settings",
            field="resume",
            value=", ".join(changed),
            remedy="resume with the settings it was begun with, or choose another output folder",
        )


def _keep(made: Path, done: int, save: Callable[[Path], None]) -> None:
    """Write a save point under another name first: a crash leaves the one before whole."""
    partial = _emptied(made.with_name(f"{made.name}-partial"))
    save(partial)
    earlier = _latest(made.parent, made.name)
    partial.replace(made.with_name(f"{made.name}-at-{done:012d}"))
    if earlier is not None:
        shutil.rmtree(earlier)


def _latest(work: Path, name: str) -> Path | None:
    return max(work.glob(f"{name}-at-*"), default=None)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
