"""A real `elasticnas serve` process, spoken to as any client would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import httpx2

from tests.backing import free_port
from tests.supernet.tiny import sentences

START_SECONDS = 600
"""Long enough for a machine that has ten times as much to do as it can."""
FINISH_SECONDS = 120


class Server:
    """One server process on one data folder; it can be killed and started again."""

    def __init__(self, data_dir: Path, *options: str, **environment: str) -> None:
        self.data_dir = data_dir
        self.port = free_port()
        self.options = options
        self.environment = environment
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        """Start the process and wait until it can take work.

        One that drives no search is ready only when a coordinator is there: until it answers.
        """
        probe = "/healthz" if "--no-coordinate" in self.options else "/readyz"
        with (self.data_dir.parent / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "elasticnas.cli.main", "serve", "--host", "127.0.0.1"),
                    *("--port", str(self.port), "--data-dir", str(self.data_dir)),
                    *self.options,
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", **self.environment},
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()
            try:
                if self.client.get(probe).status_code == 200:
                    return self
            except httpx2.TransportError:
                pass
            time.sleep(0.1)
        raise AssertionError(f"the server was not ready in {START_SECONDS} s:\n{self.log()}")

    def kill(self) -> None:
        """kill -9: nothing is cleaned up."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def log(self) -> str:
        return (self.data_dir.parent / "server.log").read_text()[-5000:]

    # -- the main job ------------------------------------------------------------------------

    def upload(self, checkpoint: Path) -> dict[str, Any]:
        """Upload a checkpoint folder, and wait until it is read; the super-network."""
        archive = checkpoint.parent / "checkpoint.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(checkpoint, arcname="tiny")
        with archive.open("rb") as file:
            supernet = self.client.post(
                "/v1/supernets", files={"archive": file}, data={"name": "tiny"}
            )
        while supernet.status_code == 202 or supernet.json().get("state") == "reading":
            time.sleep(0.2)  # its worker may still be starting
            supernet = self.client.get(f"/v1/supernets/{supernet.json()['id']}")
        assert supernet.json().get("state") == "ready", supernet.text
        return dict(supernet.json())

    def register(self, checkpoint: Path, rows: Path) -> tuple[str, str]:
        """Upload a checkpoint folder and a JSONL file; the ids of super-network and dataset."""
        supernet = self.upload(checkpoint)
        with rows.open("rb") as file:
            dataset = self.client.post(
                "/v1/datasets",
                files={"file": file},
                data={
                    "name": "films",
                    "task": "text-classification",
                    "text_columns": "sentence",
                    "label_column": "label",
                    "metric": "accuracy",
                },
            )
        assert dataset.status_code == 201, dataset.text
        return supernet["id"], dataset.json()["id"]

    def search(self, supernet: str, dataset: str, **request: Any) -> str:
        """Submit a search; its id."""
        answer = self.client.post(
            "/v1/searches",
            json={"supernet_id": supernet, "dataset_id": dataset, "max_length": 32, **request},
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def read(self, search: str) -> dict[str, Any]:
        """The search as REST shows it."""
        return dict(self.client.get(f"/v1/searches/{search}").json())

    def finish(self, search: str) -> dict[str, Any]:
        """Wait until the search is over."""
        deadline = time.monotonic() + FINISH_SECONDS
        while time.monotonic() < deadline:
            found = self.read(search)
            if found["state"] in ("completed", "failed", "cancelled"):
                return found
            time.sleep(0.1)
        raise AssertionError(f"not over in {FINISH_SECONDS} s: {found}\n{self.log()}")

    def evaluations(self, search: str) -> list[dict[str, Any]]:
        """Every evaluation, through all pages."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            query = {"limit": "7"} | ({"cursor": cursor} if cursor else {})
            page = self.client.get(f"/v1/searches/{search}/evaluations", params=query).json()
            items += page["items"]
            if (cursor := page["next_cursor"]) is None:
                return items

    def front(self, search: str) -> dict[str, Any]:
        """The Pareto front."""
        return dict(self.client.get(f"/v1/searches/{search}/front").json())

    def weights(self, search: str, number: int, weights_format: str) -> httpx2.Response:
        """Ask for weights until they are built or refused."""
        for _ in range(600):
            answer = self.client.get(
                f"/v1/searches/{search}/subnets/{number}/weights",
                params={"format": weights_format},
            )
            if answer.status_code != 202:
                return answer
            assert "Retry-After" in answer.headers
            time.sleep(0.1)
        raise AssertionError(f"the weights were not built in 60 s\n{self.log()}")


def write_rows(path: Path, count: int = 80) -> Path:
    """A JSONL file of film opinions."""
    with path.open("w") as file:
        for text in sentences(count, seed=9):
            file.write(json.dumps({"sentence": text, "label": int("good" in text)}) + "\n")
    return path
