"""What a step of a recipe is given, and what it tells whoever runs it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch

from elasticnas.api_schemas.finetuning import ChosenSubnet
from elasticnas.api_schemas.jobs import StepProgress
from elasticnas.tasks import Task
from elasticnas.tasks.rows import Rows


class StepStoppedError(Exception):
    """The step was told to stop, and has saved how far it is."""


@dataclass(frozen=True)
class TrainingData:
    """What is trained on: rows, their task, the number of classes (1: a regression), and names."""

    rows: Rows
    task: Task
    labels: int
    label_names: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Chosen:
    """A subnet to train on: of the checkpoint in ``supernet``, measured on the rows in a file."""

    said: ChosenSubnet
    supernet: Path
    rows: Path


@dataclass(frozen=True)
class StepRun:
    """One run of a step, from its beginning or from what an earlier run has ``saved``.

    ``settings`` are the recipe's. ``source`` is the pretrained model, or what the step before left;
    of a fine-tuning, whose subnet is ``chosen``, it is the super-network first. The step leaves its
    own result in ``output``, a new folder. The result must depend on these and the data alone,
    however often the step was stopped and went on in between.
    """

    settings: Any
    source: Path
    data: TrainingData
    output: Path
    saved: Path | None
    device: torch.device
    tell: Callable[[StepProgress], None]
    keep: Callable[[int, Callable[[Path], None]], None]
    """Makes a save point of what a function writes into a folder, after so many units."""
    must_stop: Callable[[], bool]
    chosen: Chosen | None = None

    def advance(
        self,
        done: int,
        total: int,
        scalars: Mapping[str, float],
        *,
        save: Callable[[Path], None],
        save_every: int,
    ) -> None:
        """So many units of ``total`` are done: tell it, and save what is due by ``save(folder)``.

        Raises:
            StepStoppedError: the step must stop now; it is saved.
        """
        finite = {name: value for name, value in scalars.items() if math.isfinite(value)}
        self.tell(StepProgress(done=done, total=total, scalars=finite))
        stops = done < total and self.must_stop()
        if stops or (done < total and done % save_every == 0):
            self.keep(done, save)
        if stops:
            raise StepStoppedError


Step = Callable[[StepRun], None]


def find_step(path: str) -> Step:
    """The function that ``module:function`` names."""
    module, _, function = path.partition(":")
    return cast("Step", getattr(import_module(module), function))
