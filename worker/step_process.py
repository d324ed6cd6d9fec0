"""The process that a step of a job runs in, and what it and its worker tell each other."""

from __future__ import annotations

import faulthandler
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from elasticnas.api_schemas.messages import RunStep
from elasticnas.api_schemas.recipes import RECIPES
from elasticnas.api_schemas.registry import load_plugins
from elasticnas.supernet.methods.step import (
    Chosen,
    StepRun,
    StepStoppedError,
    TrainingData,
    find_step,
)
from elasticnas.tasks import TASKS
from elasticnas.tasks.stored_rows import read_rows
from elasticnas.worker.failures import as_problem
from elasticnas.worker.isolation import follow_parent
from elasticnas.worker.log_tail import TAIL

FINISHED = "finished"
STOPPED = "stopped"
"""What the process says last, if no problem."""
STOP = "stop"
STORED = "stored"
"""What it is told: to stop at the next unit; that its save point is safe."""


@dataclass(frozen=True)
class StepTask:
    """All that the process needs: paths, no open things.

    ``supernet`` and ``measured_rows`` are of the subnet that the message has ``chosen``, if it has.
    It may use ``memory_share`` of the memory of a CUDA device.
    """

    message: RunStep
    plugins: tuple[str, ...]
    source: Path
    rows: Path
    saved: Path | None
    supernet: Path | None
    measured_rows: Path | None
    output: Path
    save_points: Path
    last_words: Path
    device: str
    memory_share: float


@dataclass(frozen=True)
class SavePoint:
    """A folder with a save point, which the worker stores before the step goes on."""

    folder: Path


def run_step(task: StepTask, worker: Connection) -> None:
    """Do a step and tell the worker how it ends; the main function of the process."""
    os.setsid()  # a group of its own, which can be killed as one
    threading.Thread(target=follow_parent, daemon=True).start()
    with task.last_words.open("w") as file:  # kept open for the fault handler
        faulthandler.enable(file)
        with TAIL.recording():
            try:
                load_plugins(task.plugins)
                _step(task, worker)
                worker.send(FINISHED)
            except StepStoppedError:
                worker.send(STOPPED)
            except Exception as error:
                worker.send(as_problem(error, "A step of the job failed", "step-failed"))


def _step(task: StepTask, worker: Connection) -> None:
    device, message = torch.device(task.device), task.message
    if device.type == "cuda":
        torch.cuda.set_per_process_memory_fraction(task.memory_share, device)
    recipe = RECIPES.find(message.recipe, field="recipe")
    line = _Line(worker, task.save_points)
    run = StepRun(
        settings=recipe.settings.model_validate(message.settings),
        source=task.source,
        data=TrainingData(
            read_rows(task.rows),
            TASKS.find(message.rows.task, field="task"),
            message.rows.num_labels,
            message.rows.label_names,
        ),
        output=task.output,
        saved=task.saved,
        device=device,
        tell=worker.send,
        keep=line.keep,
        must_stop=line.must_stop,
        chosen=_chosen(task),
    )
    find_step(recipe.steps[message.step])(run)


def _chosen(task: StepTask) -> Chosen | None:
    said = task.message.chosen
    if said is None or task.supernet is None or task.measured_rows is None:
        return None
    return Chosen(said, task.supernet, task.measured_rows)


class _Line:
    """The process's end of the connection to its worker."""

    def __init__(self, worker: Connection, save_points: Path) -> None:
        self._worker = worker
        self._save_points = save_points
        self._stops = False

    def keep(self, done: int, save: Callable[[Path], None]) -> None:
        """Write a save point, and wait until the worker has stored it."""
        folder = self._save_points / str(done)
        folder.mkdir()
        save(folder)
        self._worker.send(SavePoint(folder))
        while self._hear() != STORED:
            pass

    def must_stop(self) -> bool:
        """Whether the worker has said so."""
        while self._worker.poll():
            self._hear()
        return self._stops

    def _hear(self) -> str:
        said: str = self._worker.recv()
        self._stops = self._stops or said == STOP
        return said
