"""The contract of a recipe: its result depends on what it is given, and on nothing else.

A package that brings a recipe runs this on it::

    @pytest.mark.parametrize("check", CHECKS)
    def test_my_recipe_keeps_the_contract(check, tmp_path):
        check(Trial("my-recipe", MySettings(...), base, data), tmp_path)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import BaseModel

from elasticnas.api_schemas.jobs import StepProgress
from elasticnas.api_schemas.recipes import RECIPES
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.methods.step import (
    Chosen,
    StepRun,
    StepStoppedError,
    TrainingData,
    find_step,
)


@dataclass(frozen=True)
class Trial:
    """A recipe with small settings, a small model, and a few rows; or a subnet to train on."""

    recipe: str
    settings: BaseModel
    base: Path
    data: TrainingData
    chosen: Chosen | None = None


@dataclass
class _Told:
    """What a run of a step said and saved."""

    progress: list[StepProgress]
    save_points: list[Path]


def settings_survive_a_message(trial: Trial, folder: Path) -> None:
    """A worker gets the settings as JSON: they must come back as they were."""
    del folder
    recipe = RECIPES[trial.recipe]
    sent = trial.settings.model_dump(mode="json")
    assert recipe.settings.model_validate(sent) == trial.settings


def every_step_tells_how_far_it_is(trial: Trial, folder: Path) -> None:
    """Units are counted up to a total that does not change."""
    for told in _run_all(trial, folder)[1]:
        assert told.progress, "a step must tell of its progress"
        total = told.progress[-1].total
        assert [each.done for each in told.progress] == list(range(1, total + 1))
        assert {each.total for each in told.progress} == {total}


def a_step_that_must_stop_saves_and_goes_on_to_the_same_result(trial: Trial, folder: Path) -> None:
    """Stopped after every unit, each time in a new run, it ends as an undisturbed one."""
    undisturbed, _ = _run_all(trial, folder / "whole")
    source = trial.base
    for name in RECIPES[trial.recipe].steps:
        saved: Path | None = None
        for number in range(10_000):
            where = folder / f"{name}-{number}"
            told = _Told([], [])
            try:
                output = _run(trial, name, source, where, saved, told, stops=True)
                break
            except StepStoppedError:
                assert told.save_points, "a step that stops must have saved"
                saved = told.save_points[-1]
        assert number > 1, "the trial's step must have several units, or nothing is tried"
        source = output
    assert digest_of(source) == digest_of(undisturbed)


def every_save_point_leads_to_the_same_result(trial: Trial, folder: Path) -> None:
    """A run that died goes on from its last save point, whichever that is."""
    source = trial.base
    for name in RECIPES[trial.recipe].steps:
        told = _Told([], [])
        output = _run(trial, name, source, folder / name, None, told)
        assert told.save_points, "the trial's step must save, or nothing is tried"
        for number, saved in enumerate(told.save_points):
            again = folder / f"{name}-from-{number}"
            found = _run(trial, name, source, again, saved, _Told([], []))
            assert digest_of(found) == digest_of(output), saved
        source = output


def the_result_is_a_super_network(trial: Trial, folder: Path) -> None:
    """What the last step leaves can be registered."""
    result, _ = _run_all(trial, folder)
    assert read_supernet(result).space.size > 1


CHECKS: tuple[Callable[[Trial, Path], None], ...] = (
    settings_survive_a_message,
    every_step_tells_how_far_it_is,
    a_step_that_must_stop_saves_and_goes_on_to_the_same_result,
    every_save_point_leads_to_the_same_result,
    the_result_is_a_super_network,
)


def digest_of(folder: Path) -> str:
    """Of the names and contents of all files of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def result_of(trial: Trial, folder: Path) -> Path:
    """What the last step leaves."""
    return _run_all(trial, folder)[0]


def _run_all(trial: Trial, folder: Path) -> tuple[Path, list[_Told]]:
    source, told = trial.base, []
    for name in RECIPES[trial.recipe].steps:
        told.append(_Told([], []))
        source = _run(trial, name, source, folder / name, None, told[-1])
    return source, told


def _run(
    trial: Trial,
    step: str,
    source: Path,
    folder: Path,
    saved: Path | None,
    told: _Told,
    *,
    stops: bool = False,
) -> Path:
    """Do a step under folder names that are the same for every run."""

    def keep(done: int, save: Callable[[Path], None]) -> None:
        point = folder / "points" / str(done)
        point.mkdir(parents=True)
        save(point)
        told.save_points.append(point)

    base = folder / "base"
    (folder / "output").mkdir(parents=True)
    base.symlink_to(source.resolve())
    run = StepRun(
        settings=trial.settings,
        source=base,
        data=trial.data,
        output=folder / "output",
        saved=saved,
        device=torch.device("cpu"),
        tell=told.progress.append,
        keep=keep,
        must_stop=lambda: stops,
        chosen=trial.chosen,
    )
    find_step(RECIPES[trial.recipe].steps[step])(run)
    return run.output
