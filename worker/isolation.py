"""Measuring a subnet in a process of its own, whose death can be told and which can be ended."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from elasticnas.api_schemas.conditions import Conditions
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.racing import Hits
from elasticnas.api_schemas.registry import load_plugins, loaded_plugins
from elasticnas.search.races.course import Course
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.forward.joining import joined_for
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.measure import EvaluationUnwantedError, Measured
from elasticnas.supernet.measuring.stored_examples import read_examples
from elasticnas.supernet.methods.trained_first import trained_first
from elasticnas.tasks import TASKS
from elasticnas.tasks.settings import validated
from elasticnas.worker.evaluator import SubnetAsked, SupernetEvaluator
from elasticnas.worker.failures import TRACEBACK_CHARACTERS, as_problem, fault
from elasticnas.worker.guard import Guard, timed_out
from elasticnas.worker.log_tail import TAIL
from elasticnas.worker.model_cache import dtype_of
from elasticnas.worker.training_evaluator import TrainingEvaluator

LOADING_SECONDS = 600.0
"""The time limit of starting the process and reading what it needs."""
LOOK_SECONDS = 0.1
LAST_WORDS_SECONDS = 5.0
"""How long a process that hangs is given to write its traceback."""
LOADED = "loaded"


@dataclass(frozen=True)
class Measurement:
    """All that another process needs to measure a subnet: paths, no open things."""

    checkpoint: Path
    dataset: Path
    conditions: Conditions
    pilots: tuple[Hits, ...]
    asked: SubnetAsked
    device: str
    token_budget: int
    memory_bytes: int
    limit_seconds: float
    training: Path | None = None
    """The rows that subnets are trained on first, where the conditions ask for it."""


Answer = Measured | Problem


def measure_apart(
    measurement: Measurement, is_unwanted: Callable[[], bool] = lambda: False
) -> Answer:
    """What a subnet measures, or what happened to the process that measured it.

    For a subnet with which workers have died: should it kill once more, it kills a process made for
    that, and the traceback that Python writes in its last moment comes back as the problem's. A
    process that takes longer than its time limit is killed, with all that it has started.

    Raises:
        EvaluationUnwantedError: ``is_unwanted`` said so.
    """
    spawning = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    ours, theirs = spawning.Pipe(duplex=False)
    limit = measurement.limit_seconds
    with tempfile.NamedTemporaryFile(mode="r", suffix=".traceback") as last_words:
        process = spawning.Process(
            target=_measure, args=(loaded_plugins(), measurement, theirs, last_words.name)
        )
        process.start()
        theirs.close()
        is_loaded = False
        try:
            said = _heard(ours, LOADING_SECONDS, is_unwanted)
            if said == LOADED:
                is_loaded = True
                said = _heard(ours, limit, is_unwanted)
            assert not isinstance(said, str)
            return said
        except EOFError:
            process.join()
            return fault(
                "The evaluation killed its process",
                "evaluation-failed",
                f"the process that measured this subnet {end_of(process.exitcode)}, as the "
                "workers before it",
                last_words_of(last_words.read()),
            )
        except TimeoutError:
            with suppress(ProcessLookupError):
                os.kill(process.pid or 0, signal.SIGABRT)  # its fault handler writes where it is
            process.join(LAST_WORDS_SECONDS)
            trace = last_words_of(last_words.read())
            return timed_out(limit, trace) if is_loaded else _not_loaded(trace)
        finally:
            end_process(process)
            ours.close()


def _not_loaded(trace: str) -> Problem:
    return fault(
        "The measurement could not start",
        "evaluation-timeout",
        f"the process that was to measure this subnet took longer than {LOADING_SECONDS:g} seconds "
        "to read the checkpoint and the dataset; look at the worker's disk and its load, then "
        "retry",
        trace,
    )


def _heard(ours: Connection, seconds: float, is_unwanted: Callable[[], bool]) -> Answer | str:
    """What the other process says next.

    Raises:
        EOFError: it has died.
        TimeoutError: it says nothing for so long.
        EvaluationUnwantedError: nobody waits for it any more.
    """
    deadline = time.monotonic() + seconds
    while not ours.poll(LOOK_SECONDS):
        if is_unwanted():
            raise EvaluationUnwantedError
        if time.monotonic() > deadline:
            raise TimeoutError
    said: Answer | str = ours.recv()
    return said


def end_process(process: SpawnProcess) -> None:
    """Kill the process and whatever it has started, if they still run."""
    pid = process.pid
    if pid is None:
        return
    with suppress(ProcessLookupError, PermissionError):
        if process.exitcode is not None or os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)
    process.kill()
    process.join()


def _measure(
    plugins: tuple[str, ...], measurement: Measurement, answer: Connection, last_words: str
) -> None:
    os.setsid()  # a group of its own, which can be killed as one
    threading.Thread(target=follow_parent, daemon=True).start()
    with open(last_words, "w") as file:  # noqa: PTH123 - kept open for the fault handler
        faulthandler.enable(file)
        with TAIL.recording():
            try:
                load_plugins(plugins)
                work = loaded(measurement)
                answer.send(LOADED)
                answer.send(work())
            except Exception as error:
                answer.send(as_problem(error, "The evaluation failed", "evaluation-failed"))


def follow_parent() -> None:
    """End with the worker: nobody would hear the answer."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.killpg(os.getpid(), signal.SIGKILL)


def loaded(measurement: Measurement) -> Callable[[], Answer]:
    """Read what a measurement needs, in this process; what then measures."""
    evaluator = evaluator_of(measurement)
    return lambda: Guard(spare=lambda: False, make_room=lambda: None).measure(
        evaluator,
        measurement.asked,
        share=False,
        limit_seconds=float("inf"),  # the worker looks at the time
        is_unwanted=lambda: False,
    )


def evaluator_of(measurement: Measurement) -> SupernetEvaluator | TrainingEvaluator:
    """What a measurement is made with, read in this process; nothing is shared."""
    conditions = measurement.conditions
    read = read_supernet(measurement.checkpoint)
    examples = read_examples(measurement.dataset, load_tokenizer(read), read, conditions)
    supernet = read.to(torch.device(measurement.device), dtype_of(conditions.precision))
    task = TASKS[conditions.task]
    measuring = SupernetEvaluator(
        # As the worker has it: all subnets of a search are measured in one way.
        joined_for(supernet, tokens=examples.tokens, limit_bytes=measurement.memory_bytes),
        task,
        examples,
        measurement.token_budget,
        PrefixCache(limit_bytes=0),
        Course.laid_by(measurement.pilots),
        validated(task.settings_type, conditions.settings),
    )
    if conditions.fine_tuning is None or measurement.training is None:
        return measuring
    training = trained_first(
        supernet,
        conditions.fine_tuning,
        conditions.task,
        measurement.training,
        torch.device(measurement.device),
    )
    return TrainingEvaluator(measuring, training)


def last_words_of(dump: str) -> str:
    """The fault handler's dump, the most recent call first, without its list of modules."""
    stacks, _, _ = dump.partition("\nExtension modules:")
    return stacks[:TRACEBACK_CHARACTERS] or "(no traceback: the process was killed from outside)"


def end_of(exit_code: int | None) -> str:
    """How a process ended, in words."""
    if exit_code is not None and exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"exited with status {exit_code}"
