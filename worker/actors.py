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

from elasticnas.api_schemas.messages import (
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
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.verification import Verified
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.evaluation import EvaluationUnwantedError
from elasticnas.supernet.export import export_subnet
from elasticnas.supernet.racing import Measured, measure
from elasticnas.supernet.report import report
from elasticnas.supernet.verification import Scores, Verification
from elasticnas.worker.blobs import BlobStore
from elasticnas.worker.guard import Guard, time_limit
from elasticnas.worker.halting import HaltWatch
from elasticnas.worker.isolation import Answer, Measurement, measure_apart
from elasticnas.worker.problems import as_problem
from elasticnas.worker.rows import count_rows
from elasticnas.worker.signals import WorkSignals
from elasticnas.worker.unreachable import UNREACHABLE
from elasticnas.worker.warm import WarmDataset, WarmModels, WarmSupernet

log = logging.getLogger(__name__)

TakenMessage = TypeVar("TakenMessage", bound=Message)
Found = TypeVar("Found")
Loaded = tuple[WarmSupernet, WarmDataset] | Problem

ATTEMPTS = 3
"""How often an evaluation may be begun. The last attempt is made in a process of its own, so that
a subnet that kills whoever measures it ends as a failed evaluation with a traceback."""
RESEND_SECONDS = 1.0
VERIFICATION_FAILED = "verification-failed"


class ShuttingDownError(Exception):
    """The worker must stop and the broker does not answer: the message in hand is given up."""


class WorkersDiedError(Exception):
    """A job that kills whoever does it is given up."""


@dataclass(frozen=True)
class Compute:
    """Where and how a worker computes."""

    device: torch.device
    precision: Precision
    token_budget: int
    timeout_seconds: float | None


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
        self._guard = Guard(spare=models.give_up_prefixes, make_room=models.keep_used)
        self.evaluations = 0
        self.evaluating: tuple[str, ...] = ()
        """What this worker is at: see `WorkerAlive`; any thread may read."""
        broker.declare_queue(WorkerResult.queue)
        self._actors: dict[str, Callable[[str], None]] = {}
        self._register(InspectSupernet, self.inspect)
        self._register(EvaluateSubnets, self.evaluate)
        self._register(VerifySubnets, self.verify)
        self._register(ExportSubnet, self.export)

    def _register(self, kind: type[TakenMessage], take: Callable[[TakenMessage], None]) -> None:
        self._actors[kind.actor] = lambda payload: take(kind.model_validate_json(payload))

    def is_stuck(self) -> bool:
        """True when a measurement hangs, and nothing in this process can end it."""
        return self._guard.is_stuck()

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
        with self._at(f"{message.supernet_id}/inspection"):
            self._inspect(message)

    def _inspect(self, message: InspectSupernet) -> None:
        try:
            with self._survivable(f"{message.supernet_id}/inspection"):
                held = self._models.supernet(message.digest, self._compute.precision)
                found = report(held.supernet)
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
        with self._at(*(f"{message.search_id}/{item.number}" for item in wanted)):
            self._evaluate(message, wanted, watch)

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
                self._finish(_delivery(message, item.number, item.attempt))
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
                found = self._evaluate_apart(message, item, watch)
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
            precision=None if isinstance(found, Problem) else message.precision,
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
        """What died with a worker before is measured in as little memory as can be."""
        subnet = warm.supernet.space.subnet(item.subnet)

        def work(ask: Callable[[], bool], share: bool) -> Measured:
            return measure(
                warm.supernet,
                subnet,
                dataset.laps,
                dataset.labels,
                message.task,
                message.racing,
                course=dataset.course,
                rival=message.rival(item),
                is_unwanted=ask,
                share=share,
            )

        return self._guarded(work, message, dataset, watch, share=begun == 1)

    def _guarded(
        self,
        work: Callable[[Callable[[], bool], bool], Found],
        message: EvaluateSubnets,
        dataset: WarmDataset,
        watch: HaltWatch,
        *,
        share: bool = False,
    ) -> Found | Problem:
        return self._guard.measure(
            work,
            dataset,
            share=share,
            limit_seconds=self._time_limit(message, len(dataset.examples)),
            is_unwanted=watch.has_ended,
        )

    def _time_limit(self, message: EvaluateSubnets, rows: int) -> float:
        setting = self._compute.timeout_seconds
        return time_limit(setting, rows=rows, max_length=message.max_length)

    def _evaluate_apart(
        self, message: EvaluateSubnets, item: SubnetToEvaluate, watch: HaltWatch
    ) -> Measured | Problem:
        found = self._measure_apart(message, item, watch, verifies=False)
        assert not isinstance(found, Verified)
        return found

    def _measure_apart(
        self,
        message: EvaluateSubnets,
        item: SubnetToEvaluate,
        watch: HaltWatch,
        *,
        verifies: bool,
    ) -> Answer:
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
                    verifies=verifies,
                    device=str(self._compute.device),
                    precision=message.precision,
                    token_budget=self._compute.token_budget,
                    limit_seconds=self._time_limit(message, count_rows(rows)),
                ),
                watch.has_ended,
            )

    def _load(self, message: EvaluateSubnets) -> Loaded:
        try:
            warm = self._models.supernet(message.supernet_digest, message.precision)
            return warm, self._models.dataset(warm, message)
        except Exception as error:
            return as_problem(error, "The measurement could not start", "evaluation-failed")

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
            self._finish(_delivery(message, outcome.number, outcome.attempt))

    def _decline(
        self, message: EvaluateSubnets, items: Sequence[SubnetToEvaluate], watch: HaltWatch
    ) -> None:
        """Leave what was not begun to a later message; what nobody wants any more is dropped."""
        if not watch.has_ended():
            self.send(
                SubnetsDeclined(
                    search_id=message.search_id,
                    worker=self._worker,
                    subnets=tuple(items),
                    verifies=isinstance(message, VerifySubnets),
                )
            )

    def _begin(self, delivery: str) -> int:
        try:
            return self._signals.begin(delivery)
        except UNREACHABLE:
            return 1

    def _finish(self, delivery: str) -> None:
        """No worker died over this; should it come again all the same, no harm is done."""
        with suppress(*UNREACHABLE):
            self._signals.finish(delivery)

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
            self._finish(job)

    def _is_finished(self, message: EvaluateSubnets, item: SubnetToEvaluate) -> bool:
        """Two workers that both were given a message must not hand it to and fro for ever."""
        try:
            return self._signals.is_finished(_delivery(message, item.number, item.attempt))
        except UNREACHABLE:
            return False

    @contextmanager
    def _at(self, *jobs: str) -> Iterator[None]:
        """Say what this worker is at."""
        self.evaluating = jobs
        try:
            yield
        finally:
            self.evaluating = ()

    # -- the front of a search, once more ----------------------------------------------------

    def verify(self, message: VerifySubnets) -> None:
        """Measure the front of a search on rows that it never saw, one subnet after the other."""
        watch = HaltWatch(self._signals, message.search_id)
        wanted = [item for item in message.subnets if not self._is_finished(message, item)]
        if not wanted:
            return
        if watch.halted is not None:
            self._decline(message, wanted, watch)
            return
        with self._at(*(f"{message.search_id}/{item.number}/verification" for item in wanted)):
            self._verify(message, wanted, watch)

    def _verify(
        self, message: VerifySubnets, wanted: list[SubnetToEvaluate], watch: HaltWatch
    ) -> None:
        round_ = _Verifying(self._load(message))
        for position, item in enumerate(wanted):
            if watch.halted is not None:
                self._decline(message, wanted[position:], watch)
                return
            delivery = _delivery(message, item.number, item.attempt)
            begun = self._begin(delivery)
            try:
                found = self._verified(message, item, round_, begun, watch)
            except EvaluationUnwantedError:
                self._finish(delivery)
                return
            except Exception as error:
                found = as_problem(error, "The subnet could not be verified", VERIFICATION_FAILED)
            self.send(
                SubnetsVerified(
                    search_id=message.search_id,
                    numbers=(item.number,),
                    attempt=item.attempt,
                    precision=None if isinstance(found, Problem) else message.precision,
                    verified=None if isinstance(found, Problem) else (found,),
                    problem=found if isinstance(found, Problem) else None,
                )
            )
            self._finish(delivery)

    def _verified(
        self,
        message: VerifySubnets,
        item: SubnetToEvaluate,
        round_: _Verifying,
        begun: int,
        watch: HaltWatch,
    ) -> Verified | Problem:
        if isinstance(round_.loaded, Problem):
            return round_.loaded
        if begun >= ATTEMPTS:
            apart = self._measure_apart(message, item, watch, verifies=True)
            assert not isinstance(apart, Measured)
            return apart
        warm, dataset = round_.loaded
        verification = Verification(warm.supernet, dataset.labels, message.task)

        def score(subnet: SubnetConfig) -> Scores | Problem:
            return self._guarded(
                lambda ask, _: verification.score(subnet, dataset.laps[0].batches, ask),
                message,
                dataset,
                watch,
            )

        if round_.maximal is None:
            round_.maximal = score(warm.supernet.space.maximal)
        if isinstance(round_.maximal, Problem):
            return round_.maximal
        found = score(warm.supernet.space.subnet(item.subnet))
        return found if isinstance(found, Problem) else verification.compare(found, round_.maximal)

    # -- weights -----------------------------------------------------------------------------

    def export(self, message: ExportSubnet) -> None:
        """Build the archive of one subnet's weights and put it into blob storage."""
        with self._at(f"{message.export_id}/export"):
            self._export(message)

    def _export(self, message: ExportSubnet) -> None:
        archive = self._scratch / f"{message.export_id}.zip"
        try:
            # Read anew, in float32 on the CPU, whatever the dtype and device of the warm model.
            with (
                self._survivable(f"{message.export_id}/export"),
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


@dataclass
class _Verifying:
    """What the subnets of one message are verified with; the maximal subnet is scored once."""

    loaded: Loaded
    maximal: Scores | Problem | None = None


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
    delivery = f"{message.search_id}/{number}/{attempt}/{message.revision}"
    return f"{delivery}/verification" if isinstance(message, VerifySubnets) else delivery
