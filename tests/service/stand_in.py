"""A worker without models: it answers messages from arithmetic, at the tests' command."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dramatiq

from elasticnas.api_schemas.conditions import FineTuning
from elasticnas.api_schemas.messages import (
    EvaluateSubnets,
    ExportSubnet,
    InspectSupernet,
    Result,
    Rung,
    StartingWeights,
    SubnetExported,
    SubnetOutcome,
    SubnetsDeclined,
    SubnetsEvaluated,
    SubnetsStarted,
    SubnetsVerified,
    SubnetToEvaluate,
    SupernetInspected,
    VerifySubnets,
    WorkerAlive,
    WorkerResult,
)
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.spaces import FFN, HEADS, RANK, Dimension
from elasticnas.api_schemas.supernets import SupernetReport
from elasticnas.api_schemas.verification import Interval, RowSplit, Verified
from elasticnas.search.cost_terms import Extent, attention, cost_model, linear, parameters
from elasticnas.search.races.course import Course, pack, unpack
from elasticnas.service.blobs import BlobStore
from elasticnas.service.signals import Signals
from elasticnas.supernet.measuring.measure import Measured
from elasticnas.worker.intake import Intake
from tests.search.crowd import hits, seed_of

LAYERS = 3
NAME = "stand-in"


def synthetic_report(num_labels: int = 2, label_names: tuple[str, ...] | None = None):
    """Three layers, each with elastic heads, feed-forward width and LoRA rank: 46 656 subnets."""
    dimensions, terms = [], []
    for layer in range(LAYERS):
        heads, width, rank = (f"layer.{layer}.{part}" for part in ("heads", "ffn.width", "rank"))
        dimensions += [
            Dimension(name=heads, part=HEADS, layer=layer, choices=(12, 9, 6)),
            Dimension(name=width, part=FFN, layer=layer, choices=(1024, 768, 512, 256)),
            Dimension(name=rank, part=RANK, layer=layer, choices=(8, 4, 2)),
        ]
        of_heads = Extent(full=384, dimension=heads, unit=32)
        wide, hidden = Extent(full=1024, dimension=width), Extent(full=384)
        terms += linear(of_heads, hidden, bias=True, rank=Extent(full=8, dimension=rank))
        terms += linear(wide, hidden, bias=True)
        terms.append(attention(of_heads))
    return SupernetReport(
        method="lonas",
        model_type="bert",
        num_labels=num_labels,
        label_names=label_names,
        reference_length=64,
        max_positions=128,
        has_adapters=True,
        dimensions=tuple(dimensions),
        cost_model=cost_model([*terms, parameters(1536 * LAYERS + 100_000)]),
    )


def accuracy_of(subnet: dict[str, int]) -> float:
    """Larger is better with diminishing returns, and a little noise that is always the same."""
    size = sum(choice**0.5 for choice in subnet.values())
    noise = hashlib.sha256(repr(sorted(subnet.items())).encode()).digest()[0] / 255
    return round(0.5 + 0.4 * size / 120 + 0.05 * noise, 6)


def as_far_trained(metrics: dict[str, float], rung: Rung | None) -> dict[str, float]:
    """Worse on every rung but the last, and the worse the earlier."""
    if rung is None or rung.until is None:
        return metrics
    return {name: value - 0.1 / (1 + rung.number) for name, value in metrics.items()}


def run_race(message: EvaluateSubnets, item: SubnetToEvaluate) -> Measured:
    """A race over made-up rows, of which a larger subnet gets more right."""
    assert message.racing is not None
    bits = hits(accuracy_of(item.subnet), seed_of(item.subnet))
    if (rival := message.rival(item)) is not None:
        course = Course([unpack(pilot) for pilot in message.pilots])
        lost = course.lost_at(bits, unpack(rival.hits), message.racing.confidence)
        if lost is not None:
            return Measured(given_up=lost.against(rival.number))
    return Measured({"accuracy": float(bits.mean())}, hits=pack(bits))


def interval(value: float) -> Interval:
    """A value a hundredth wide to either side."""
    return Interval(value=value, low=value - 0.01, high=value + 0.01)


class StandInWorker:
    """Takes the service's messages on a broker; what it does can be changed while it runs."""

    def __init__(
        self, broker: dramatiq.Broker, signals: Signals, blobs: BlobStore, scratch: Path
    ) -> None:
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
        self.splits: list[RowSplit | None] = []
        self.fine_tunings: list[FineTuning | None] = []
        self.starts: dict[tuple[str, int], StartingWeights | None] = {}
        self.keeps_weights = True
        self.rungs: list[tuple[str, int, Rung]] = []
        self.verifications: list[VerifySubnets] = []
        self.lose_verifications = 0
        self.verification_problem: Problem | None = None
        self.declined: list[int] = []
        self.measures_in: Precision | None = None
        self.does_not_say = False
        self.duration = 0.5
        self._broker = broker
        self._blobs = blobs
        self._scratch = scratch
        self._takes: dict[str, Callable[[str], None]] = {
            InspectSupernet.actor: self._inspect,
            EvaluateSubnets.actor: self._evaluate,
            VerifySubnets.actor: self._verify,
            ExportSubnet.actor: self._export,
        }
        self._signals = signals
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(2)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self.open.set()
        self.exports_open.set()
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=5)

    def _work(self) -> None:
        intake = Intake(
            self._broker, self._signals, held=tuple, load_seconds=lambda: 0.0, alone=True
        )
        while not self._stopping.is_set():
            if (taken := intake.take()) is None:
                self._stopping.wait(0.005)
                continue
            self._takes[taken.message.actor_name](*taken.message.args)
            taken.acknowledge()

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

    def heartbeat(
        self,
        *,
        stopping: bool = False,
        name: str = NAME,
        precision: Precision = Precision.FLOAT32,
        **said: Any,
    ) -> None:
        self.send(
            WorkerAlive(
                worker=name,
                device="arithmetic",
                started_at=datetime.now(UTC),
                evaluations=len(self.evaluated),
                warm_supernets=(),
                precision=None if self.does_not_say else precision,
                precisions=None
                if self.does_not_say
                else tuple(dict.fromkeys((Precision.FLOAT32, precision))),
                stopping=stopping,
                **said,
            )
        )

    def _inspect(self, payload: str) -> None:
        message = InspectSupernet.model_validate_json(payload)
        report = None if self.rejection else self.report
        self.send(
            SupernetInspected(
                supernet_id=message.supernet_id, report=report, problem=self.rejection
            )
        )

    def _evaluate(self, payload: str) -> None:
        message = EvaluateSubnets.model_validate_json(payload)
        if (how := self._signals.halted(message.search_id)) is not None:
            if how == "paused":
                self.declined += [item.number for item in message.subnets]
                self.send(
                    SubnetsDeclined(
                        search_id=message.search_id, worker=NAME, subnets=message.subnets
                    )
                )
            return
        numbers = tuple(item.number for item in message.subnets)
        self.batches.append(len(numbers))
        self.splits.append(message.conditions.split)
        self.fine_tunings.append(message.conditions.fine_tuning)
        self.send(SubnetsStarted(search_id=message.search_id, worker=NAME, numbers=numbers))
        if not self.open.wait(timeout=20):
            return
        outcomes = []
        for item in message.subnets:
            self.evaluated.append((message.search_id, item.number))
            self.subnets.append(item.subnet)
            metrics, problem, raced = None, None, Measured()
            try:
                metrics = as_far_trained(self.metrics(item.subnet), item.rung)
                if message.racing is not None:
                    raced = run_race(message, item)
                    metrics = raced.metrics
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
                    precision=None
                    if self.does_not_say
                    else (self.measures_in or message.conditions.precision),
                    metrics=metrics,
                    hits=raced.hits,
                    given_up=raced.given_up,
                    weights=self._kept(message, item) if metrics is not None else None,
                    rung=0 if item.rung is None else item.rung.number,
                    state=self._climbed(message, item) if metrics is not None else None,
                    problem=problem,
                    started_at=datetime.now(UTC),
                    duration_seconds=self.duration,
                )
            )
        self.send(
            SubnetsEvaluated(search_id=message.search_id, worker=NAME, outcomes=tuple(outcomes))
        )

    def _kept(self, message: EvaluateSubnets, item: SubnetToEvaluate) -> str | None:
        """A file that follows from the subnet and what its training begins with."""
        training = message.conditions.fine_tuning
        if training is None or not training.keeps_weights or not self.keeps_weights:
            return None
        self.starts[message.search_id, item.number] = item.start
        path = self._scratch / f"{message.search_id}-{item.number}"
        path.write_text(f"{sorted(item.subnet.items())} from {item.start}")
        return self._blobs.store(path)[0]

    def _climbed(self, message: EvaluateSubnets, item: SubnetToEvaluate) -> str | None:
        """A file that another training may go on from, where it is not over."""
        if item.rung is None:
            return None
        self.rungs.append((message.search_id, item.number, item.rung))
        if item.rung.until is None:
            return None
        path = self._scratch / f"{message.search_id}-{item.number}-{item.rung.number}"
        path.write_text(f"{message.search_id} {item.number} {item.rung}")
        return self._blobs.store(path)[0]

    def _verify(self, payload: str) -> None:
        message = VerifySubnets.model_validate_json(payload)
        if (how := self._signals.halted(message.search_id)) is not None:
            if how == "paused":
                self.declined += [item.number for item in message.subnets]
                self.send(
                    SubnetsDeclined(
                        search_id=message.search_id,
                        worker=NAME,
                        subnets=message.subnets,
                        verifies=True,
                    )
                )
            return
        self.verifications.append(message)
        if self.lose_verifications > 0:
            self.lose_verifications -= 1
            return
        measured = [self.metrics(item.subnet) for item in message.subnets]
        found = [
            Verified(
                rows=2,
                metrics={name: interval(value) for name, value in each.items()},
                versus_maximal={name: interval(0.0) for name in each},
            )
            for each in measured
        ]
        self.send(
            SubnetsVerified(
                search_id=message.search_id,
                numbers=tuple(item.number for item in message.subnets),
                attempt=message.subnets[0].attempt,
                precision=None
                if self.does_not_say
                else (self.measures_in or message.conditions.precision),
                verified=None if self.verification_problem else tuple(found),
                problem=self.verification_problem,
            )
        )

    def _export(self, payload: str) -> None:
        message = ExportSubnet.model_validate_json(payload)
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
