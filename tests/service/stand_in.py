"""A worker without models: it answers messages from arithmetic, at the tests' command."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dramatiq

from api_schemas.costs import AttentionShape, CostModel, Extent, LinearShape
from api_schemas.messages import (
    EvaluateSubnets,
    ExportSubnet,
    InspectSupernet,
    Result,
    SubnetExported,
    SubnetOutcome,
    SubnetsEvaluated,
    SubnetsStarted,
    SupernetInspected,
    WorkerAlive,
    WorkerResult,
)
from api_schemas.problems import Problem
from api_schemas.spaces import Dimension, DimensionKind
from api_schemas.supernets import Method, SupernetReport
from service.blobs import LocalBlobs

LAYERS = 3
NAME = "stand-in"


def synthetic_report(num_labels: int = 2, label_names: tuple[str, ...] | None = None):
    """Three layers, each with elastic heads, feed-forward width and LoRA rank: 46 656 subnets."""
    dimensions, linears, attentions = [], [], []
    for layer in range(LAYERS):
        heads, width, rank = (f"layer.{layer}.{part}" for part in ("heads", "ffn.width", "rank"))
        dimensions += [
            Dimension(name=heads, kind=DimensionKind.HEADS, choices=(12, 9, 6)),
            Dimension(name=width, kind=DimensionKind.WIDTH, choices=(1024, 768, 512, 256)),
            Dimension(name=rank, kind=DimensionKind.RANK, choices=(8, 4, 2)),
        ]
        attention = Extent(full=384, dimension=heads, unit=32)
        wide = Extent(full=1024, dimension=width)
        linears += [
            LinearShape(
                name=f"layer.{layer}.query",
                rows=attention,
                columns=Extent(full=384),
                bias=True,
                tokens="sequence",
                layer=layer,
                rank=Extent(full=8, dimension=rank),
            ),
            LinearShape(
                name=f"layer.{layer}.ffn",
                rows=wide,
                columns=Extent(full=384),
                bias=True,
                tokens="sequence",
                layer=layer,
            ),
        ]
        attentions.append(AttentionShape(layer=layer, width=attention))
    return SupernetReport(
        method=Method.LONAS,
        model_type="bert",
        num_labels=num_labels,
        label_names=label_names,
        reference_length=64,
        max_positions=128,
        has_adapters=True,
        dimensions=tuple(dimensions),
        cost_model=CostModel(
            linears=tuple(linears),
            attentions=tuple(attentions),
            layer_params=(1536,) * LAYERS,
            constant_params=100_000,
        ),
    )


def accuracy_of(subnet: dict[str, int]) -> float:
    """Larger is better with diminishing returns, and a little noise that is always the same."""
    size = sum(choice**0.5 for choice in subnet.values())
    noise = hashlib.sha256(repr(sorted(subnet.items())).encode()).digest()[0] / 255
    return round(0.5 + 0.4 * size / 120 + 0.05 * noise, 6)


class StandInWorker:
    """Takes the service's messages on a broker; what it does can be changed while it runs."""

    def __init__(self, broker: dramatiq.Broker, blobs: LocalBlobs, scratch: Path) -> None:
        self.report = synthetic_report()
        self.rejection: Problem | None = None
        self.export_problem: Problem | None = None
        self.metrics: Callable[[dict[str, int]], dict[str, float]] = lambda subnet: {
            "accuracy": accuracy_of(subnet),
            "f1": accuracy_of(subnet) - 0.01,
        }
        self.open = threading.Event()
        self.open.set()
        self.exports_open = threading.Event()
        self.exports_open.set()
        self.evaluated: list[tuple[str, int]] = []
        self.subnets: list[dict[str, int]] = []
        self.batches: list[int] = []
        self.duration = 0.5
        self._broker = broker
        self._blobs = blobs
        self._scratch = scratch
        for kind, take in (
            (InspectSupernet, self._inspect),
            (EvaluateSubnets, self._evaluate),
            (ExportSubnet, self._export),
        ):
            self._register(kind, take)
        self._consumer = dramatiq.Worker(
            broker,
            queues={"inspections", "evaluations", "exports"},
            worker_threads=2,
            worker_timeout=20,
        )

    def start(self) -> None:
        self._consumer.start()

    def stop(self) -> None:
        self.open.set()
        self.exports_open.set()
        self._consumer.stop(timeout=5000)

    def send(self, result: Result) -> None:
        self._broker.enqueue(
            dramatiq.Message(
                queue_name=WorkerResult.queue,
                actor_name=WorkerResult.actor,
                args=(WorkerResult(result=result).model_dump_json(),),
                kwargs={},
                options={},
            )
        )

    def heartbeat(self, *, stopping: bool = False) -> None:
        self.send(
            WorkerAlive(
                worker=NAME,
                device="arithmetic",
                started_at=datetime.now(UTC),
                evaluations=len(self.evaluated),
                warm_supernets=(),
                stopping=stopping,
            )
        )

    def _register(self, kind, take) -> None:
        dramatiq.actor(
            lambda payload: take(kind.model_validate_json(payload)),
            actor_name=kind.actor,
            queue_name=kind.queue,
            broker=self._broker,
            max_retries=0,
        )

    def _inspect(self, message: InspectSupernet) -> None:
        report = None if self.rejection else self.report
        self.send(
            SupernetInspected(
                supernet_id=message.supernet_id, report=report, problem=self.rejection
            )
        )

    def _evaluate(self, message: EvaluateSubnets) -> None:
        numbers = tuple(item.number for item in message.subnets)
        self.batches.append(len(numbers))
        self.send(SubnetsStarted(search_id=message.search_id, worker=NAME, numbers=numbers))
        if not self.open.wait(timeout=20):
            return
        outcomes = []
        for item in message.subnets:
            self.evaluated.append((message.search_id, item.number))
            self.subnets.append(item.subnet)
            metrics, problem = None, None
            try:
                metrics = self.metrics(item.subnet)
            except Exception as error:
                problem = Problem(
                    type="/problems/evaluation-failed",
                    title="The evaluation failed",
                    status=500,
                    detail=str(error),
                )
            outcomes.append(
                SubnetOutcome(
                    number=item.number,
                    attempt=item.attempt,
                    metrics=metrics,
                    problem=problem,
                    started_at=datetime.now(UTC),
                    duration_seconds=self.duration,
                )
            )
        self.send(
            SubnetsEvaluated(search_id=message.search_id, worker=NAME, outcomes=tuple(outcomes))
        )

    def _export(self, message: ExportSubnet) -> None:
        if not self.exports_open.wait(timeout=20):
            return
        if self.export_problem is not None:
            self.send(SubnetExported(export_id=message.export_id, problem=self.export_problem))
            return
        archive = self._scratch / f"{message.export_id}.zip"
        with zipfile.ZipFile(archive, "w") as pack:
            pack.writestr(f"{message.folder}/config.json", message.card.model_dump_json())
        digest, size = self._blobs.store(archive)
        self.send(SubnetExported(export_id=message.export_id, digest=digest, size_bytes=size))
