"""Start a service on a database and a folder, and do what tests do all the time."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dramatiq.brokers.stub import StubBroker
from fastapi import FastAPI
from fastapi.testclient import TestClient

from elasticnas.service.app import create_app
from elasticnas.service.blobs import make_blobs
from elasticnas.service.exports import repository as exports
from elasticnas.service.exports.tables import ExportRow
from elasticnas.service.settings import ServiceSettings
from elasticnas.service.signals import LocalSignals
from tests.service.stand_in import StandInWorker


@dataclass
class Running:
    """A running service: its client, its worker, and what tests do all the time."""

    client: TestClient
    worker: StandInWorker
    settings: ServiceSettings
    app: FastAPI

    def supernet(self, **files: str) -> str:
        """The id of a newly registered super-network."""
        answer = self.client.post(
            "/v1/supernets?wait=60",
            files={"archive": ("net.tar", tar_of(files or {"base/x": "1"}))},
        )
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def dataset(self, rows: int = 4, **fields: str) -> str:
        """The id of a newly registered dataset with the labels 0 and 1."""
        text = "".join(
            json.dumps({"sentence": f"row {i}", "label": i % 2}) + "\n" for i in range(rows)
        )
        form = {
            "name": "toy",
            "task": "text-classification",
            "text_columns": "sentence",
            "label_column": "label",
            **fields,
        }
        answer = self.client.post("/v1/datasets", data=form, files={"file": ("d.jsonl", text)})
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def body(self, **fields: Any) -> dict[str, Any]:
        """The body of a small search on a new super-network and dataset."""
        body: dict[str, Any] = {
            "strategy": {"name": "nsga2", "population_size": 8},
            "budget": {"evaluations": 24},
            **fields,
        }
        body.setdefault("supernet_id", None)
        body.setdefault("dataset_id", None)
        body["supernet_id"] = body["supernet_id"] or self.supernet()
        body["dataset_id"] = body["dataset_id"] or self.dataset()
        return body

    def search(self, **fields: Any) -> str:
        """The id of a newly created search."""
        answer = self.client.post("/v1/searches", json=self.body(**fields))
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a 200 answer."""
        answer = self.client.get(path, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait(self, search_id: str, *states: str, timeout: float = 180) -> dict[str, Any]:
        """Poll until the search is in one of the states (by default: completed)."""
        wanted = states or ("completed",)
        deadline = time.monotonic() + timeout
        while True:
            search = self.get(f"/v1/searches/{search_id}")
            if search["state"] in wanted:
                return search
            assert time.monotonic() < deadline, search
            assert search["state"] not in ("failed", "completed", "cancelled"), search
            time.sleep(0.02)

    def builds(self, worker: str, written: int) -> None:
        """Have a worker say that it builds the export that somebody asks for, and how far it is."""

        def pending() -> list[ExportRow]:
            with self.app.state.service.database.read() as session:
                return list(exports.pending(session))

        self.until(pending)
        [export] = pending()
        self.worker.heartbeat(
            name=worker, evaluating=(f"{export.id}/export",), written={export.id: written}
        )

    def until(self, condition: Callable[[], object], timeout: float = 120) -> None:
        """Wait until the condition holds."""
        deadline = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < deadline, "the condition never held"
            time.sleep(0.01)


def tar_of(files: dict[str, str | bytes], mode: str = "w") -> bytes:
    """A tar archive with these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


@contextmanager
def running_service(
    url: str, folder: Path, *, worker_runs: bool = True, **settings: Any
) -> Iterator[Running]:
    """Start a service on a database and a folder; stop it at the end of the block."""
    configured = ServiceSettings(
        data_dir=folder / "data",
        database_url=url,
        **{"tick_seconds": 0.02, "inspection_timeout_seconds": 5, **settings},
    )
    broker = StubBroker()
    signals = LocalSignals(broker)
    blobs = make_blobs(configured)
    worker = StandInWorker(broker, signals, blobs, folder)
    app = create_app(configured, broker, signals, blobs)
    with TestClient(app, raise_server_exceptions=False) as client:
        if worker_runs:
            worker.start()
        try:
            yield Running(client, worker, configured, app)
        finally:
            if worker_runs:
                worker.stop()
