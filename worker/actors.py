"""What a worker does with each kind of message."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import dramatiq
import torch

from api_schemas.messages import (
    EvaluateSubnets,
    ExportSubnet,
    InspectSupernet,
    Message,
    Result,
    SubnetExported,
    SubnetOutcome,
    SubnetsDeclined,
    SubnetsEvaluated,
    SubnetsStarted,
    SubnetsVerified,
    SubnetToEvaluate,
    SupernetInspected,
    VerifySubnets,
    WorkerResult,
)
from api_schemas.problems import Problem
from supernet.checkpoint.reader import read_supernet
from supernet.evaluation import EvaluationUnwantedError
from supernet.export import export_subnet
from supernet.racing import Measured, measure
from supernet.report import report
from supernet.verification import verify
from worker.blobs import BlobStore
from worker.halting import HaltWatch
from worker.isolation import Measurement, measure_apart
from worker.problems import as_problem, fault, is_out_of_memory
from worker.signals import WorkSignals
from worker.unreachable import UNREACHABLE
from worker.warm import WarmDataset, WarmModels, WarmSupernet

log = logging.getLogger(__name__)

TakenMessage = TypeVar("TakenMessage", bound=Message)
Loaded = tuple[WarmSupernet, WarmDataset] | Problem

ATTEMPTS = 3
"""How often an evaluation may be begun. The last attempt is made in a process of its own, so that
a subnet that kills whoever measures it ends as a failed evaluation with a traceback."""
RESEND_SECONDS = 1.0


class ShuttingDownError(Exception):
    """The worker must stop and the broker does not answer: the message in hand is given up."""


class WorkersDiedError(Exception):
    """A job that kills whoever does it is given up."""


@dataclass(frozen=True)
class Compute:
    """Where and how a worker computes."""

    device: torch.device
    dtype: torch.dtype
    token_budget: int


class Actors:
    """Does what messages ask for, with the models it keeps warm, and sends back the results.

    Every message is answered: what cannot be done comes back as a problem document.
    """

    def __init__(
        self,
        broker: dramatiq.Broker,
        signals: WorkSignals,
        blobs: BlobStore,
        models: WarmModels,
        compute: Compute,
        *,
        worker: str,
        scratch: Path,
        stopping: threading.Event,
    ) -> None:
        self._broker = broker
        self._signals = signals
        self._blobs = blobs
        self._models = models
        self._compute = compute
        self._worker = worker
        self._scratch = scratch
        self._stopping = stopping
        self.evaluations = 0
        self.evaluating: tuple[str, ...] = ()
        """What this worker is at, as ``search id/number``; any thread may read."""
        broker.declare_queue(WorkerResult.queue)
        self._actors: dict[str, Callable[[str], None]] = {}
        self._register(InspectSupernet, self.inspect)
        self._register(EvaluateSubnets, self.evaluate)
        self._register(VerifySubnets, self.verify)
        self._register(ExportSubnet, self.export)

    def _register(self, kind: type[TakenMessage], take: Callable[[TakenMessage], None]) -> None:
        self._actors[kind.actor] = lambda payload: take(kind.model_validate_json(payload))

    def take(self, actor: str, payload: str) -> None:
        """Do what a message asks for.

        Raises:
            ShuttingDownError: its result could not be sent before the worker had to stop.
        """
        self._actors[actor](payload)

    def send(self, result: Result) -> None:
        """Put a result on the queue back to the service, however long that takes.

        Raises:
            ShuttingDownError: the worker is told to stop and the broker still does not answer.
        """
        message: dramatiq.Message[None] = dramatiq.Message(
            queue_name=WorkerResult.queue,
            actor_name=WorkerResult.actor,
            args=(WorkerResult(result=result).model_dump_json(),),
            kwargs={},
            options={},
        )
        while True:
            try:
                self._broker.enqueue(message)
                return
            except UNREACHABLE as error:
                log.warning("a result waits, the message broker does not answer: %s", error)
                if self._stopping.wait(RESEND_SECONDS):
                    raise ShuttingDownError from error

    def inspect(self, message: InspectSupernet) -> None:
        """Read a checkpoint and report what it holds."""
        try:
            with self._survivable(f"inspection/{message.supernet_id}"):
                found = report(self._models.supernet(message.digest).supernet)
            inspected = SupernetInspected(supernet_id=message.supernet_id, report=found)
        except Exception as error:
            problem = as_problem(error, "The checkpoint cannot be used", "invalid-checkpoint")
            inspected = SupernetInspected(supernet_id=message.supernet_id, problem=problem)
        self.send(inspected)

    def evaluate(self, message: EvaluateSubnets) -> None:
        """Measure each subnet of the batch; one that fails does not take the others with it."""
        watch = HaltWatch(self._signals, message.search_id)
        if watch.halted is not None:
            self._decline(message, message.subnets, watch)
            return
        wanted = [item for item in message.subnets if not self._is_finished(message, item)]
        if not wanted:
            return
        self.evaluating = tuple(f"{message.search_id}/{item.number}" for item in wanted)
        try:
            self._evaluate(message, wanted, watch)
        finally:
            self.evaluating = ()

    def _evaluate(
        self, message: EvaluateSubnets, wanted: list[SubnetToEvaluate], watch: HaltWatch
    ) -> None:
        numbers = tuple(item.number for item in wanted)
        self.send(SubnetsStarted(search_id=message.search_id, worker=self._worker, numbers=numbers))
        loaded = self._load(message)
        wanted = _sharing_most(wanted, loaded)
        outcomes: list[SubnetOutcome] = []
        for position, item in enumerate(wanted):
            if watch.halted is not None:
                self._report(message, outcomes)
                self._decline(message, wanted[position:], watch)
                return
            begun = self._begin(_delivery(message, item.number, item.attempt))
            try:
                outcomes.append(self._outcome(message, item, loaded, begun, watch))
            except EvaluationUnwantedError:
                return
            if begun > 1:
                # A worker has died over this batch: let no result depend on what comes after it.
                self._report(message, outcomes)
                outcomes = []
        self._report(message, outcomes)

    # -- one evaluation ----------------------------------------------------------------------

    def _outcome(
        self,
        message: EvaluateSubnets,
        item: SubnetToEvaluate,
        loaded: Loaded,
        begun: int,
        watch: HaltWatch,
    ) -> SubnetOutcome:
        started_at, start = datetime.now(UTC), time.perf_counter()
        found: Measured | Problem
        try:
            if isinstance(loaded, Problem):
                found = loaded
            elif begun >= ATTEMPTS:
                found = self._measure_apart(message, item)
            else:
                found = self._measure(message, item, *loaded, begun, watch)
        except EvaluationUnwantedError:
            raise
        except Exception as error:
            found = as_problem(error, "The evaluation failed", "evaluation-failed")
        self.evaluations += 1
        measured = Measured() if isinstance(found, Problem) else found
        return SubnetOutcome(
            number=item.number,
            attempt=item.attempt,
            metrics=measured.metrics,
            hits=measured.hits,
            given_up=measured.given_up,
            problem=found if isinstance(found, Problem) else None,
            started_at=started_at,
            duration_seconds=time.perf_counter() - start,
        )

    def _measure(
        self,
        message: EvaluateSubnets,
        item: SubnetToEvaluate,
        warm: WarmSupernet,
        dataset: WarmDataset,
        begun: int,
        watch: HaltWatch,
    ) -> Measured | Problem:
        """The result; when memory runs out, in batches of half the tokens, down to single rows.

        What died with a worker before is measured in as little memory as can be, and all by itself.
        """
        subnet = warm.supernet.space.subnet(item.subnet)
        share = begun == 1
        gave_up = False
        while True:
            try:
                return measure(
                    warm.supernet,
                    subnet,
                    dataset.laps,
                    dataset.labels,
                    message.task,
                    message.racing,
                    course=dataset.course,
                    rival=message.rival(item),
                    is_unwanted=watch.has_ended,
                    share=share,
                )
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                out_of_memory = str(error)
            share = False
            if not gave_up and self._models.give_up_prefixes():
                gave_up = True
                log.warning("out of memory: activations that subnets share are dropped")
                continue
            self._models.keep_only(message.supernet_digest)
            if not dataset.halve_batches():
                return fault(
                    "The device has too little memory",
                    "evaluation-failed",
                    "even one row at a time needs more memory than there is",
                    out_of_memory,
                )
            log.warning(
                "out of memory: batches of %s are now of %d tokens",
                message.dataset_digest[:12],
                dataset.token_budget,
            )

    def _measure_apart(
        self, message: EvaluateSubnets, item: SubnetToEvaluate
    ) -> Measured | Problem:
        log.warning("search %s: workers died over %d", message.search_id, item.number)
        self._models.keep_only(None)
        with (
            self._models.checkpoint(message.supernet_digest) as folder,
            self._blobs.lease(message.dataset_digest) as rows,
        ):
            return measure_apart(
                Measurement(
                    checkpoint=folder,
                    dataset=rows,
                    task=message.task,
                    max_length=message.max_length,
                    split=message.split,
                    racing=message.racing,
                    pilots=message.pilots,
                    subnet=item.subnet,
                    rival=message.rival(item),
                    device=str(self._compute.device),
                    dtype=self._compute.dtype,
                    token_budget=self._compute.token_budget,
                )
            )

    def _load(self, message: EvaluateSubnets) -> Loaded:
        try:
            warm = self._models.supernet(message.supernet_digest)
            return warm, self._models.dataset(warm, message)
        except Exception as error:
            return as_problem(error, "The evaluation could not start", "evaluation-failed")

    # -- deliveries --------------------------------------------------------------------------

    def _report(self, message: EvaluateSubnets, outcomes: list[SubnetOutcome]) -> None:
        if not outcomes:
            return
        self.send(
            SubnetsEvaluated(
                search_id=message.search_id,
                worker=self._worker,
                outcomes=tuple(sorted(outcomes, key=lambda outcome: outcome.number)),
            )
        )
        for outcome in outcomes:
            try:
                self._signals.finish(_delivery(message, outcome.number, outcome.attempt))
            except UNREACHABLE:
                return  # should the message come again, it is measured again: no harm

    def _decline(
        self, message: EvaluateSubnets, items: Sequence[SubnetToEvaluate], watch: HaltWatch
    ) -> None:
        """Leave what was not begun to a later message; what nobody wants any more is dropped."""
        if not watch.has_ended():
            self.send(
                SubnetsDeclined(
                    search_id=message.search_id, worker=self._worker, subnets=tuple(items)
                )
            )

    def _begin(self, delivery: str) -> int:
        try:
            return self._signals.begin(delivery)
        except UNREACHABLE:
            return 1

    @contextmanager
    def _survivable(self, job: str) -> Iterator[None]:
        """Do a job that is not an evaluation, unless workers have died over it.

        Raises:
            WorkersDiedError: `ATTEMPTS` workers began it, and none of them finished.
        """
        if self._begin(job) > ATTEMPTS:
            raise WorkersDiedError(f"{ATTEMPTS} workers died over this")
        try:
            yield
        finally:
            with suppress(*UNREACHABLE):
                self._signals.finish(job)

    def _is_finished(self, message: EvaluateSubnets, item: SubnetToEvaluate) -> bool:
        """Two workers that both were given a message must not hand it to and fro for ever."""
        try:
            return self._signals.is_finished(_delivery(message, item.number, item.attempt))
        except UNREACHABLE:
            return False

    def verify(self, message: VerifySubnets) -> None:
        """Measure the front of a search on rows that it never saw."""
        numbers = tuple(item.number for item in message.subnets)
        self.evaluating = tuple(f"{message.search_id}/{number}" for number in numbers)
        try:
            with self._survivable(f"verification/{message.search_id}/{numbers}"):
                warm = self._models.supernet(message.supernet_digest)
                dataset = self._models.dataset(warm, message)
                found = verify(
                    warm.supernet,
                    [warm.supernet.space.subnet(item.subnet) for item in message.subnets],
                    dataset.examples,
                    message.task,
                    token_budget=dataset.token_budget,
                )
            verified = SubnetsVerified(
                search_id=message.search_id, numbers=numbers, verified=tuple(found)
            )
        except Exception as error:
            problem = as_problem(error, "The front could not be verified", "verification-failed")
            verified = SubnetsVerified(
                search_id=message.search_id, numbers=numbers, problem=problem
            )
        finally:
            self.evaluating = ()
        self.send(verified)

    def export(self, message: ExportSubnet) -> None:
        """Build the archive of one subnet's weights and put it into blob storage."""
        archive = self._scratch / f"{message.export_id}.zip"
        try:
            # Read anew, in float32 on the CPU, whatever the dtype and device of the warm model.
            with (
                self._survivable(f"export/{message.export_id}"),
                self._models.checkpoint(message.supernet_digest) as folder,
            ):
                supernet = read_supernet(folder)
                export_subnet(
                    supernet,
                    supernet.space.subnet(message.subnet),
                    message.card,
                    message.format,
                    archive=archive,
                    folder=message.folder,
                )
            digest, size = self._blobs.store(archive)
            exported = SubnetExported(export_id=message.export_id, digest=digest, size_bytes=size)
        except Exception as error:
            problem = as_problem(error, "The weights cannot be exported", "export-failed")
            exported = SubnetExported(export_id=message.export_id, problem=problem)
        finally:
            archive.unlink(missing_ok=True)
        self.send(exported)


def _sharing_most(wanted: list[SubnetToEvaluate], loaded: Loaded) -> list[SubnetToEvaluate]:
    """The subnets in an order in which each finds what it shares with those before it."""
    if isinstance(loaded, Problem):
        return wanted
    _, dataset = loaded
    prefixes = dataset.laps[0].prefixes
    if prefixes is None:
        return wanted
    return sorted(wanted, key=lambda item: prefixes.place(item.subnet))


def _delivery(message: EvaluateSubnets, number: int, attempt: int) -> str:
    return f"{message.search_id}/{number}/{attempt}"
