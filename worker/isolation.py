"""Measuring a subnet in a process of its own, whose death can be told."""

from __future__ import annotations

import faulthandler
import multiprocessing
import signal
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from api_schemas.metrics import Task
from api_schemas.problems import Problem
from api_schemas.racing import Hits, Racing, Rival
from api_schemas.spaces import SubnetChoices
from api_schemas.verification import RowSplit
from search.racing import Course
from supernet.checkpoint.reader import load_tokenizer, read_supernet
from supernet.racing import Measured, laps_of, measure
from worker.problems import TRACEBACK_CHARACTERS, as_problem, fault
from worker.rows import read_rows


@dataclass(frozen=True)
class Measurement:
    """All that another process needs to measure a subnet: paths, no open things."""

    checkpoint: Path
    dataset: Path
    task: Task
    max_length: int
    split: RowSplit | None
    racing: Racing | None
    pilots: tuple[Hits, ...]
    subnet: SubnetChoices
    rival: Rival | None
    device: str
    dtype: torch.dtype
    token_budget: int


def measure_apart(measurement: Measurement) -> Measured | Problem:
    """The metrics of a subnet, or what happened to the process that measured it.

    For a subnet with which workers have died: should it kill once more, it kills a process made for
    that, and the traceback that Python writes in its last moment comes back as the problem's.
    """
    spawning = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    ours, theirs = spawning.Pipe(duplex=False)
    with tempfile.NamedTemporaryFile(mode="r", suffix=".traceback") as last_words:
        process = spawning.Process(target=_measure, args=(measurement, theirs, last_words.name))
        process.start()
        theirs.close()
        try:
            answer: Measured | Problem = ours.recv()
        except EOFError:
            process.join()
            answer = fault(
                "The evaluation killed its process",
                "evaluation-failed",
                f"the process that measured this subnet {_end_of(process.exitcode)}, as the "
                "workers before it",
                _last_words(last_words.read()),
            )
        process.join()
        return answer


def _measure(measurement: Measurement, answer: Connection, last_words: str) -> None:
    with open(last_words, "w") as file:  # noqa: PTH123 - kept open for the fault handler
        faulthandler.enable(file)
        try:
            answer.send(measured(measurement))
        except Exception as error:
            answer.send(as_problem(error, "The evaluation failed", "evaluation-failed"))


def measured(measurement: Measurement) -> Measured:
    """Measure a subnet from nothing, in this process."""
    device = torch.device(measurement.device)
    read = read_supernet(measurement.checkpoint)
    examples = read_rows(
        measurement.dataset,
        load_tokenizer(read),
        read.architecture,
        task=measurement.task,
        max_length=measurement.max_length,
        split=measurement.split,
    )
    supernet = read.to(device, measurement.dtype)
    course = Course.laid_by(measurement.pilots)
    return measure(
        supernet,
        supernet.space.subnet(measurement.subnet),
        laps_of(examples, course, supernet, token_budget=measurement.token_budget),
        examples.labels,
        measurement.task,
        measurement.racing,
        course=course,
        rival=measurement.rival,
    )


def _last_words(dump: str) -> str:
    """The fault handler's dump, the most recent call first, without its list of modules."""
    stacks, _, _ = dump.partition("\nExtension modules:")
    return stacks[:TRACEBACK_CHARACTERS] or "(no traceback: the process was killed from outside)"


def _end_of(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"was killed by {signal.Signals(-exit_code).name}"
    return f"exited with status {exit_code}"
