"""Doing the steps of jobs beside everything else that a worker does."""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from elasticnas.api_schemas.jobs import StepProgress
from elasticnas.api_schemas.manifests import store_folder
from elasticnas.api_schemas.messages import Result, RunStep, StepReported
from elasticnas.api_schemas.problems import InputError, Problem
from elasticnas.api_schemas.registry import loaded_plugins
from elasticnas.worker.blobs import BlobStore, checkpoint
from elasticnas.worker.failures import as_problem, fault
from elasticnas.worker.halts import HaltWatch
from elasticnas.worker.isolation import end_of, end_process, last_words_of
from elasticnas.worker.model_cache import ModelCache
from elasticnas.worker.outbox import ShuttingDownError
from elasticnas.worker.signals import WorkSignals
from elasticnas.worker.step_limits import StepLimits
from elasticnas.worker.step_process import FINISHED, STOP, STORED, SavePoint, StepTask, run_step
from elasticnas.worker.vitals import BusyShare

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1
REPORT_SECONDS = 1.0
"""Progress is reported at most this often."""
SCALARS_OF_A_STEP = 200
"""Into so many means the scalars of a step are gathered."""
LAST_WORDS_SECONDS = 5.0


class Steps:
    """Runs one step at a time, in a process of its own that a thread watches."""

    def __init__(
        self,
        worker: str,
        blobs: BlobStore,
        signals: WorkSignals,
        models: ModelCache,
        send: Callable[[Result], None],
        *,
        limits: StepLimits,
        scratch: Path,
        stopping: threading.Event,
        busy: BusyShare,
    ) -> None:
        self._worker = worker
        self._blobs = blobs
        self._signals = signals
        self._models = models
        self._send = send
        self._limits = limits
        self._scratch = scratch
        self._stopping = stopping
        self._busy = busy
        self._thread: threading.Thread | None = None
        self.at: tuple[str, ...] = ()
        """The attempt in hand, if any, as `WorkerAlive.evaluating` names it."""

    @property
    def holds_device(self) -> bool:
        """Whether a step has the device for itself at the moment."""
        return bool(self.at) and not self._limits.shares_device

    def start(self, message: RunStep) -> None:
        """Begin a step on a thread of its own. What is in memory makes room for it.

        Raises:
            ShuttingDownError: the worker must stop, and nobody could be told of the step.
        """
        self._report(message)
        self.at = (message.key,)
        self._models.lend()
        self._thread = threading.Thread(target=self._do, args=(message,), name="step", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the step, which saves as the worker stops."""
        if self._thread is not None:
            self._thread.join()

    def _do(self, message: RunStep) -> None:
        try:
            with self._busy.work():
                end = self._attempt(message)
        except ShuttingDownError:
            return
        except Exception as error:  # of the store, perhaps: the step goes on from its save point
            problem = as_problem(error, "The step could not be done", "step-failed")
            state = "failed" if isinstance(error, InputError) else "died"
            end = {"state": state, "problem": problem}
        finally:
            self._models.take_back()
            self.at = ()
        if end is not None:
            with suppress(ShuttingDownError):  # whoever sees that this worker is gone sends it anew
                self._report(message, **end)

    def _report(self, message: RunStep, **news: Any) -> None:
        self._send(
            StepReported(
                job_id=message.job_id,
                position=message.position,
                attempt=message.attempt,
                worker=self._worker,
                **news,
            )
        )

    def _attempt(self, message: RunStep) -> dict[str, Any] | None:
        """How an attempt ended, as a report says it; None when nobody wants to know."""
        with self._task(message) as task, _Child(task) as child:
            watch = HaltWatch(self._signals, message.key)
            news = _News(lambda **told: self._report(message, **told))
            told_to_stop = False
            while not watch.has_ended():
                if self._stopping.is_set() and not told_to_stop:
                    told_to_stop = True
                    child.tell(STOP)
                said = child.hear()
                if isinstance(said, StepProgress):
                    news.tell(said)
                elif isinstance(said, SavePoint):
                    digest, _ = store_folder(self._blobs, said.folder)
                    self._report(message, saved=digest)
                    child.tell(STORED)
                elif isinstance(said, Problem):
                    return {"state": "failed", "problem": said}
                elif said == FINISHED:
                    digest, manifest = store_folder(self._blobs, task.output)
                    return {"state": "completed", "output": digest, "size_bytes": manifest.size}
                elif said is not None:
                    return {"state": "given_back"}
                elif (why := child.death(self._limits.silence_seconds)) is not None:
                    return {"state": "died", "problem": why}
            return None

    @contextmanager
    def _task(self, message: RunStep) -> Iterator[StepTask]:
        """What the process needs, on disk until the block ends."""
        self._scratch.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self._scratch)))
            for name in ("output", "save-points", "leased"):
                (folder / name).mkdir()
            (folder / "last-words").touch()

            def leased(digest: str, name: str) -> Path:
                """A stored folder under a name that is the same for every attempt."""
                held = checkpoint(digest, self._blobs, folder / "leased")
                (folder / name).symlink_to(stack.enter_context(held).resolve())
                return folder / name

            def rows(digest: str) -> Path:
                return stack.enter_context(self._blobs.lease(digest)).resolve()

            measured = None if message.chosen is None else message.chosen.conditions
            yield StepTask(
                message=message,
                plugins=loaded_plugins(),
                source=leased(message.source, "base"),
                rows=rows(message.rows.digest),
                saved=None if message.saved is None else leased(message.saved, "saved"),
                supernet=None if measured is None else leased(measured.supernet, "supernet"),
                measured_rows=None if measured is None else rows(measured.dataset),
                output=folder / "output",
                save_points=folder / "save-points",
                last_words=folder / "last-words",
                device=self._limits.device,
                memory_share=self._limits.memory_share,
            )


class _Child:
    """The process of a step, as its worker sees it; it is ended with the block."""

    def __init__(self, task: StepTask) -> None:
        self._task = task
        self._heard_at = time.monotonic()

    def __enter__(self) -> _Child:
        spawning = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        self._line: Connection
        self._line, theirs = spawning.Pipe()
        self._process: SpawnProcess = spawning.Process(target=run_step, args=(self._task, theirs))
        self._process.start()
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        end_process(self._process)
        self._line.close()

    def tell(self, word: str) -> None:
        """Tell the process something; one that has died is noticed elsewhere."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._line.send(word)

    def hear(self) -> object:
        """What the process says next; None when it says nothing for a moment, or has died."""
        with suppress(EOFError, ConnectionResetError):
            if self._line.poll(LOOK_SECONDS):
                said: object = self._line.recv()
                self._heard_at = time.monotonic()
                return said
        return None

    def death(self, silence_seconds: float) -> Problem | None:
        """Why the process is dead, or must be ended because it hangs; None while it works."""
        if not self._process.is_alive():
            how = end_of(self._process.exitcode)
        elif time.monotonic() - self._heard_at > silence_seconds:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid or 0, signal.SIGABRT)  # it writes where it is
            self._process.join(LAST_WORDS_SECONDS)
            how = f"made no progress for {silence_seconds:g} seconds, and was ended"
        else:
            return None
        return fault(
            "A step of the job killed its process",
            "step-failed",
            f"the process of step {self._task.message.step} {how}",
            last_words_of(self._task.last_words.read_text(errors="replace")),
        )


@dataclass
class _News:
    """Thins out what a step says of its progress, and gathers its scalars into means."""

    report: Callable[..., None]
    _reported_at: float = float("-inf")
    _sums: Counter[Any] = field(default_factory=Counter)
    _units: int = 0

    def tell(self, progress: StepProgress) -> None:
        """One more unit is done."""
        self._units += 1
        self._sums.update(progress.scalars)
        every = max(1, math.ceil(progress.total / SCALARS_OF_A_STEP))
        is_over = progress.done == progress.total
        scalars = self._means(progress) if progress.done % every == 0 or is_over else None
        is_due = time.monotonic() - self._reported_at > REPORT_SECONDS
        if scalars is not None or is_due or is_over:
            self._reported_at = time.monotonic()
            self.report(progress=progress, scalars=scalars)

    def _means(self, progress: StepProgress) -> StepProgress:
        means = {name: total / self._units for name, total in self._sums.items()}
        self._sums, self._units = Counter(), 0
        return progress.model_copy(update={"scalars": means})
