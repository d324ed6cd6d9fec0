"""Messages in, results out: real actors on Dramatiq's in-memory broker, a real small model."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import dramatiq
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dramatiq.brokers.stub import StubBroker

from elasticnas.api_schemas.conditions import Conditions
from elasticnas.api_schemas.messages import (
    EvaluateSubnets,
    ExportSubnet,
    InspectSupernet,
    Message,
    SubnetExported,
    SubnetsEvaluated,
    SubnetsStarted,
    SubnetToEvaluate,
    SupernetInspected,
    WorkerAlive,
    WorkerResult,
)
from elasticnas.api_schemas.weights import SubnetCard, WeightsFormat
from elasticnas.service.signals import LocalSignals
from elasticnas.supernet.export import archive as archive_module
from elasticnas.supernet.export import onnx_folder
from elasticnas.supernet.export.transformers_folder import write_transformers_folder
from elasticnas.supernet.measuring import measure as evaluating
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.worker.handlers.export import exports_written
from elasticnas.worker.runtime import WorkerRuntime
from elasticnas.worker.settings import WorkerSettings
from tests.supernet.test_onnx_export import needs_onnx
from tests.supernet.tiny import sentences, write_checkpoint

PATIENCE = 600_000
"""Milliseconds: a process of its own takes long to start on a busy machine."""


class FolderOfBlobs:
    """Blob storage as a worker sees it, in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.leased: list[str] = []
        folder.mkdir()

    @contextmanager
    def lease(self, digest: str) -> Iterator[Path]:
        if not (self.folder / digest).is_file():
            raise FileNotFoundError(f"no blob {digest}")
        self.leased.append(digest)
        yield self.folder / digest
        self.leased.remove(digest)

    def store(self, path: Path) -> tuple[str, int]:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.move(path, self.folder / digest)
        return digest, (self.folder / digest).stat().st_size

    def store_text(self, text: str, scratch: Path) -> str:
        scratch.write_text(text)
        return self.store(scratch)[0]


class Bench:
    """A running worker, and what it has sent back."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.blobs = FolderOfBlobs(folder / "blobs")
        self.broker = StubBroker(middleware=[])
        self.results: list[object] = []
        dramatiq.actor(
            actor_name=WorkerResult.actor, queue_name=WorkerResult.queue, broker=self.broker
        )(self._record)
        self.signals = LocalSignals(self.broker)
        self.runtime = WorkerRuntime(
            WorkerSettings(device="cpu", cache_dir=folder / "cache", **settings),
            self.blobs,
            self.broker,
            self.signals,
            alone=True,
        )
        self.collector = dramatiq.Worker(
            self.broker, queues={WorkerResult.queue}, worker_threads=1, worker_timeout=20
        )
        self.collector.start()
        self.runtime.start()

    def _record(self, payload: str) -> None:
        self.results.append(WorkerResult.model_validate_json(payload).result)

    def ask(self, message: Message) -> list[object]:
        """Send a message; everything that comes back but heartbeats."""
        self.results.clear()
        self.broker.declare_queue(message.lane)
        self.signals.open_lane(message.lane)
        self.broker.enqueue(
            dramatiq.Message(
                queue_name=message.lane,
                actor_name=message.actor,
                args=(message.model_dump_json(),),
                kwargs={},
                options={},
            )
        )
        self.broker.join(message.lane, timeout=PATIENCE)
        self.broker.join(WorkerResult.queue, timeout=PATIENCE)
        return [result for result in self.results if not isinstance(result, WorkerAlive)]

    def checkpoint(self, **options) -> str:
        """Store a checkpoint as blobs; the digest of its manifest."""
        source = write_checkpoint(Path(mkdtemp(dir=self.folder)), **options)
        files = {}
        for path in [p for p in source.rglob("*") if p.is_file()]:
            size = path.stat().st_size
            digest = self.blobs.store(path)[0]
            files[str(path.relative_to(source))] = {"sha256": digest, "size": size}
        return self.blobs.store_text(json.dumps({"files": files}), self.folder / "manifest")

    def dataset(self, rows: int = 40) -> str:
        texts = sentences(rows)
        table = pa.table(
            {
                "text_a": texts,
                "text_b": pa.nulls(rows, pa.string()),
                "label": [int("good" in text) for text in texts],
            }
        )
        pq.write_table(table, self.folder / "rows.parquet")
        return self.blobs.store(self.folder / "rows.parquet")[0]

    def close(self) -> None:
        self.runtime.stop()
        self.broker.join(WorkerResult.queue, timeout=60_000)
        self.collector.stop()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def under(message: EvaluateSubnets, **changed: object) -> EvaluateSubnets:
    """The message under other conditions."""
    conditions = message.conditions.model_copy(update=changed)
    return message.model_copy(update={"conditions": conditions})


def evaluation(supernet: str, dataset: str, *subnets: dict[str, int]) -> EvaluateSubnets:
    return EvaluateSubnets(
        search_id="s1",
        conditions=Conditions(
            supernet=supernet,
            dataset=dataset,
            task=TEXT_CLASSIFICATION.name,
            max_length=32,
        ),
        subnets=tuple(
            SubnetToEvaluate(number=number, subnet=subnet) for number, subnet in enumerate(subnets)
        ),
    )


def test_an_inspection_reports_what_the_checkpoint_holds(bench: Bench):
    [result] = bench.ask(InspectSupernet(supernet_id="n1", digest=bench.checkpoint()))
    assert isinstance(result, SupernetInspected)
    assert result.report is not None
    assert len(result.report.dimensions) == 9
    assert result.supernet_id == "n1"


def test_an_inspection_of_a_bad_checkpoint_names_what_is_wrong(bench: Bench):
    source = write_checkpoint(bench.folder / "bad")
    (source / "search_space.json").unlink()
    files = {}
    for path in [p for p in source.rglob("*") if p.is_file()]:
        files[str(path.relative_to(source))] = {"sha256": bench.blobs.store(path)[0], "size": 0}
    digest = bench.blobs.store_text(json.dumps({"files": files}), bench.folder / "m")
    [result] = bench.ask(InspectSupernet(supernet_id="n1", digest=digest))
    assert isinstance(result, SupernetInspected)
    assert result.problem is not None
    assert result.problem.status == 422
    assert result.problem.errors[0].pointer == "search_space.json"


def test_a_fault_whose_message_no_json_can_hold_is_sent_all_the_same(bench: Bench, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("half \ud83d and \0")

    digest = bench.checkpoint()
    monkeypatch.setattr("elasticnas.worker.handlers.inspect.report", fail)
    # pytest-xdist sends what was logged to its controller as UTF-8, which has no half of a pair.
    monkeypatch.setattr("elasticnas.worker.failures.log.disabled", True)
    [result] = bench.ask(InspectSupernet(supernet_id="n1", digest=digest))
    assert isinstance(result, SupernetInspected)
    assert result.problem is not None
    assert result.problem.detail == "RuntimeError: half \ufffd and \ufffd"


def test_a_batch_comes_back_in_order_with_all_metrics(bench: Bench):
    message = evaluation(
        bench.checkpoint(), bench.dataset(), {}, {"layer.0.ffn.width": 7}, {"layer.1.lora.rank": 1}
    )
    started, evaluated = bench.ask(message)
    assert isinstance(started, SubnetsStarted)
    assert started.numbers == (0, 1, 2)
    assert isinstance(evaluated, SubnetsEvaluated)
    assert [outcome.number for outcome in evaluated.outcomes] == [0, 1, 2]
    for outcome in evaluated.outcomes:
        assert outcome.problem is None
        assert outcome.metrics is not None
        assert 0 <= outcome.metrics["accuracy"] <= 1
        assert outcome.duration_seconds > 0


def test_the_same_batch_taken_twice_gives_the_same_metrics(bench: Bench):
    message = evaluation(bench.checkpoint(), bench.dataset(), {}, {"layer.0.ffn.width": 7})
    first, again = bench.ask(message)[1], bench.ask(message)[1]
    assert isinstance(first, SubnetsEvaluated)
    assert isinstance(again, SubnetsEvaluated)
    assert [o.metrics for o in first.outcomes] == [o.metrics for o in again.outcomes]


def test_subnets_of_a_batch_share_first_layers_and_come_back_in_order(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    """Far apart in the message, two pairs share all layers but the last."""
    subnets = (
        {"layer.0.ffn.width": 7},
        {},
        {"layer.0.ffn.width": 7, "layer.2.ffn.width": 7},
        {"layer.2.ffn.width": 7},
    )
    message = evaluation(bench.checkpoint(), bench.dataset(), *subnets)
    spared: list[tuple[int, int]] = []

    def activate(supernet, subnet, splice):
        spared.append((subnet["layer.0.ffn.width"], splice.first))
        return real_activate(supernet, subnet, splice)

    real_activate = evaluating.activate
    monkeypatch.setattr(evaluating, "activate", activate)
    evaluated = bench.ask(message)[1]
    assert isinstance(evaluated, SubnetsEvaluated)
    assert spared == [(7, 0), (7, 2), (40, 0), (40, 2)]
    assert [outcome.number for outcome in evaluated.outcomes] == [0, 1, 2, 3]
    monkeypatch.undo()
    for outcome, subnet in zip(evaluated.outcomes, subnets, strict=True):
        alone = evaluation(message.conditions.supernet, message.conditions.dataset, subnet)
        bench.runtime._models.give_up_prefixes()
        [by_itself] = bench.ask(alone)[1].outcomes
        assert outcome.metrics == by_itself.metrics


def test_one_subnet_that_fails_does_not_take_the_others_with_it(bench: Bench):
    message = evaluation(bench.checkpoint(), bench.dataset(), {"nose": 1}, {})
    evaluated = bench.ask(message)[1]
    assert isinstance(evaluated, SubnetsEvaluated)
    bad, good = evaluated.outcomes
    assert bad.metrics is None
    assert bad.problem is not None
    assert "nose" in bad.problem.detail
    assert good.metrics is not None


def test_a_missing_dataset_fails_every_subnet_with_its_cause(bench: Bench):
    evaluated = bench.ask(evaluation(bench.checkpoint(), "0" * 64, {}, {}))[1]
    assert isinstance(evaluated, SubnetsEvaluated)
    assert len(evaluated.outcomes) == 2
    for outcome in evaluated.outcomes:
        assert outcome.problem is not None
        assert "no blob" in outcome.problem.detail


def export_of(
    digest: str, weights_format: WeightsFormat, subnet: dict[str, Any] | None = None
) -> ExportSubnet:
    return ExportSubnet(
        export_id="e1",
        supernet_digest=digest,
        subnet=subnet or {},
        format=weights_format,
        folder="tiny",
        card=SubnetCard(
            supernet_name="tiny",
            dataset_name="films",
            dataset_rows=40,
            search_id="s1",
            number=3,
            metrics={"accuracy": 0.5},
            cost={"gflops": 0.1},
            max_length=32,
        ),
    )


@pytest.mark.parametrize(
    "weights_format",
    [
        WeightsFormat.TRANSFORMERS,
        WeightsFormat.PEFT,
        pytest.param(WeightsFormat.ONNX, marks=(pytest.mark.slow, needs_onnx)),
    ],
)
def test_an_export_lands_in_blob_storage(bench: Bench, weights_format):
    message = export_of(bench.checkpoint(), weights_format, {"layer.0.lora.rank": 1})
    [result] = bench.ask(message)
    assert isinstance(result, SubnetExported)
    assert result.digest is not None
    with bench.blobs.lease(result.digest) as archive:
        assert archive.stat().st_size == result.size_bytes
    assert not list((bench.folder / "cache" / "exports").iterdir())


def test_a_worker_tells_how_much_of_an_export_it_has_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    scratch = bench.folder / "cache" / "exports"
    jobs = ("s1/3", "e1/export")
    seen = []

    def then_looked_at(supernet, subnet, card, folder: Path) -> None:
        write_transformers_folder(supernet, subnet, card, folder)
        size = sum(path.stat().st_size for path in folder.iterdir())
        seen.append((exports_written(scratch, jobs), size))

    monkeypatch.setattr(archive_module, "write_transformers_folder", then_looked_at)
    bench.ask(export_of(bench.checkpoint(), WeightsFormat.TRANSFORMERS))
    [(written, size)] = seen
    assert written == {"e1": size}
    assert size > 0
    assert exports_written(scratch, jobs) == {"e1": 0}


def test_an_impossible_export_comes_back_as_a_problem(bench: Bench):
    [result] = bench.ask(export_of(bench.checkpoint(adapted=()), WeightsFormat.PEFT))
    assert isinstance(result, SubnetExported)
    assert result.problem is not None
    assert "no LoRA adapter" in result.problem.detail


def test_a_worker_without_onnx_says_what_to_install_before_it_reads_anything(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(onnx_folder, "PACKAGES", ("onnx", "no_such_package"))
    [result] = bench.ask(export_of("0" * 64, WeightsFormat.ONNX))
    assert isinstance(result, SubnetExported)
    assert result.problem is not None
    assert "no_such_package" in result.problem.detail
    assert "pip install 'elasticnas[onnx]'" in result.problem.detail


def test_a_worker_says_that_it_is_alive_and_what_it_holds(bench: Bench):
    digest = bench.checkpoint()
    bench.ask(InspectSupernet(supernet_id="n1", digest=digest))
    bench.runtime.stop()
    bench.broker.join(WorkerResult.queue, timeout=60_000)
    alive = [result for result in bench.results if isinstance(result, WorkerAlive)]
    assert alive[-1].stopping
    assert alive[-1].warm_supernets == (digest,)
    assert alive[-1].device == "cpu"
    memory = alive[-1].memory
    assert memory is not None
    assert 0 < memory.resident_bytes <= memory.limit_bytes
    assert (memory.device_used_bytes, memory.device_total_bytes) == (None, None)
    assert alive[-1].busy is not None
    assert 0 <= alive[-1].busy <= 1
