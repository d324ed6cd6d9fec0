"""The actors that take work off the queue: one for each message that the service sends."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import dramatiq

from api_schemas.messages import (
    EvaluateSubnets,
    ExportSubnet,
    InspectSupernet,
    Message,
    Result,
    SubnetExported,
    SubnetOutcome,
    SubnetsEvaluated,
    SubnetsStarted,
    SubnetToEvaluate,
    SupernetInspected,
    WorkerResult,
)
from api_schemas.problems import InputError, Problem
from supernet.checkpoint.reader import read_supernet
from supernet.evaluation import evaluate
from supernet.export import export_subnet
from supernet.report import report
from worker.blobs import BlobStore
from worker.warm import WarmDataset, WarmModels, WarmSupernet

log = logging.getLogger(__name__)

TakenMessage = TypeVar("TakenMessage", bound=Message)

PRIORITIES: dict[type[Message], int] = {InspectSupernet: 0, ExportSubnet: 5, EvaluateSubnets: 10}
"""Somebody waits for an inspection or an export; evaluations are many. Lower goes first."""


class Actors:
    """Does what messages ask for, with the models it keeps warm, and sends back the results.

    Every message is answered: what cannot be done comes back as a problem document.
    """

    def __init__(
        self,
        broker: dramatiq.Broker,
        blobs: BlobStore,
        models: WarmModels,
        *,
        worker: str,
        scratch: Path,
    ) -> None:
        self._broker = broker
        self._blobs = blobs
        self._models = models
        self._worker = worker
        self._scratch = scratch
        self.evaluations = 0
        broker.declare_queue(WorkerResult.queue)
        self._register(InspectSupernet, self.inspect)
        self._register(EvaluateSubnets, self.evaluate)
        self._register(ExportSubnet, self.export)

    def _register(self, kind: type[TakenMessage], take: Callable[[TakenMessage], None]) -> None:
        def receive(payload: str) -> None:
            take(kind.model_validate_json(payload))

        dramatiq.actor(
            actor_name=kind.actor,
            queue_name=kind.queue,
            priority=PRIORITIES[kind],
            broker=self._broker,
        )(receive)

    def send(self, result: Result) -> None:
        """Put a result on the queue back to the service."""
        self._broker.enqueue(
            dramatiq.Message(
                queue_name=WorkerResult.queue,
                actor_name=WorkerResult.actor,
                args=(WorkerResult(result=result).model_dump_json(),),
                kwargs={},
                options={},
            )
        )

    def inspect(self, message: InspectSupernet) -> None:
        """Read a checkpoint and report what it holds."""
        try:
            found = report(self._models.supernet(message.digest).supernet)
            self.send(SupernetInspected(supernet_id=message.supernet_id, report=found))
        except Exception as error:
            problem = _problem(error, "The checkpoint cannot be used", "invalid-checkpoint")
            self.send(SupernetInspected(supernet_id=message.supernet_id, problem=problem))

    def evaluate(self, message: EvaluateSubnets) -> None:
        """Measure each subnet of the batch; one that fails does not take the others with it."""
        numbers = tuple(item.number for item in message.subnets)
        self.send(SubnetsStarted(search_id=message.search_id, worker=self._worker, numbers=numbers))
        loaded: tuple[WarmSupernet, WarmDataset] | Problem
        try:
            warm = self._models.supernet(message.supernet_digest)
            loaded = warm, self._models.dataset(warm, message)
        except Exception as error:
            loaded = _problem(error, "The evaluation could not start", "evaluation-failed")
        outcomes = tuple(self._outcome(message, item, loaded) for item in message.subnets)
        self.evaluations += len(outcomes)
        self.send(
            SubnetsEvaluated(search_id=message.search_id, worker=self._worker, outcomes=outcomes)
        )

    def _outcome(
        self,
        message: EvaluateSubnets,
        item: SubnetToEvaluate,
        loaded: tuple[WarmSupernet, WarmDataset] | Problem,
    ) -> SubnetOutcome:
        started_at, start = datetime.now(UTC), time.perf_counter()
        metrics, problem = None, None
        if isinstance(loaded, Problem):
            problem = loaded
        else:
            warm, dataset = loaded
            try:
                subnet = warm.supernet.space.subnet(item.subnet)
                metrics = evaluate(
                    warm.supernet, subnet, dataset.batches, dataset.labels, message.task
                )
            except Exception as error:
                problem = _problem(error, "The evaluation failed", "evaluation-failed")
        return SubnetOutcome(
            number=item.number,
            attempt=item.attempt,
            metrics=metrics,
            problem=problem,
            started_at=started_at,
            duration_seconds=time.perf_counter() - start,
        )

    def export(self, message: ExportSubnet) -> None:
        """Build the archive of one subnet's weights and put it into blob storage."""
        try:
            # Read anew, in float32 on the CPU, whatever the dtype and device of the warm model.
            supernet = read_supernet(self._models.folder(message.supernet_digest))
            archive = export_subnet(
                supernet,
                supernet.space.subnet(message.subnet),
                message.card,
                message.format,
                archive=self._scratch / f"{message.export_id}.zip",
                folder=message.folder,
            )
            digest, size = self._blobs.store(archive)
            self.send(SubnetExported(export_id=message.export_id, digest=digest, size_bytes=size))
        except Exception as error:
            problem = _problem(error, "The weights cannot be exported", "export-failed")
            self.send(SubnetExported(export_id=message.export_id, problem=problem))


def _problem(error: Exception, title: str, kind: str) -> Problem:
    """What went wrong, as a document: the user's to mend (422), or a fault with its traceback."""
    if isinstance(error, InputError):
        return error.as_problem(title=title, kind=kind)
    log.exception(title, exc_info=error)
    trace = "".join(traceback.format_exception(error))
    return Problem(
        type=f"/problems/{kind}",
        title=title,
        status=500,
        detail=f"{type(error).__name__}: {error}",
        traceback=trace[-4000:],
    )
