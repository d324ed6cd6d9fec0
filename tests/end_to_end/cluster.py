"""The service as a team runs it: servers, coordinators and workers in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.end_to_end.server import Server

SILENCE_SECONDS = 4.0
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "ELASTICNAS_COORDINATOR_LEASE_SECONDS": "3",
    "ELASTICNAS_WORKER_SILENCE_SECONDS": str(SILENCE_SECONDS),
    "ELASTICNAS_WORKER_HEARTBEAT_SECONDS": "0.5",
}


class Process:
    """One process of the cluster, its log beside it; it works once it has logged ``ready``."""

    def __init__(
        self, name: str, command: list[str], ready: str, folder: Path, **environment: str
    ) -> None:
        self.name = name
        self._ready = ready
        self._command = command
        self._log = folder / f"{name}.log"
        self._environment = {**os.environ, **ENVIRONMENT, **environment}
        self._started_at = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Process:
        """Start the process and wait until it works."""
        self._launch()
        until(lambda: self._ready in self._latest(), says=self.log())
        return self

    def _launch(self) -> None:
        with self._log.open("ab") as log:
            self._started_at = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, *self._command], stdout=log, stderr=log, env=self._environment
            )

    def _latest(self) -> str:
        """The log since the last start."""
        with self._log.open("rb") as log:
            log.seek(self._started_at)
            return log.read().decode()

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9: nothing is cleaned up."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=60)

    def keep_alive(self, stopping: threading.Event) -> None:
        """Start it again whenever it dies, as a supervisor does."""
        while not stopping.wait(0.1):
            if not self.is_running:
                self._launch()

    def log(self) -> str:
        return self._log.read_text()[-5000:] if self._log.exists() else ""


class Cluster:
    """Processes on one database, one Redis and one data folder."""

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.backing = {
            "ELASTICNAS_DATABASE_URL": database_url,
            "ELASTICNAS_REDIS_URL": redis_url,
        }
        self._redis_url = redis_url
        self._started: list[Process] = []
        self._servers: list[Server] = []

    def server(self) -> Server:
        """A server that drives no search."""
        server = Server(self.data_dir, "--no-coordinate", **ENVIRONMENT, **self.backing)
        self._servers.append(server)
        return server.start()

    def coordinator(self) -> Process:
        """A coordinator."""
        name = f"coordinator-{len(self._started)}"
        command = ["-m", "elasticnas.cli.main", "coordinate", "--data-dir", str(self.data_dir)]
        return self._start(Process(name, command, "coordinating", self.folder, **self.backing))

    def worker(self, script: Path | None = None, **environment: str) -> Process:
        """A worker, which knows the queue and the data folder and nothing else."""
        name = f"worker-{len(self._started)}"
        main = ["-m", "elasticnas.cli.main"] if script is None else [str(script)]
        command = [*main, "worker", "--device", "cpu", "--data-dir", str(self.data_dir)]
        redis = {"ELASTICNAS_REDIS_URL": self._redis_url}
        return self._start(
            Process(name, command, "takes work", self.folder, **redis, **environment)
        )

    def supervise(self, process: Process) -> Callable[[], None]:
        """Start the process again whenever it dies, until the returned function is called."""
        enough = threading.Event()
        supervisor = threading.Thread(target=process.keep_alive, args=(enough,), daemon=True)
        supervisor.start()

        def stop() -> None:
            enough.set()
            supervisor.join()

        return stop

    def close(self) -> None:
        """Kill whatever still runs."""
        for process in self._started:
            process.kill()
        for server in self._servers:
            if server.process is not None and server.process.poll() is None:
                server.kill()

    def logs(self) -> str:
        return "\n".join(f"== {each.name}\n{each.log()}" for each in self._started)

    def _start(self, process: Process) -> Process:
        self._started.append(process)
        return process.start()


def until(condition: Callable[[], object], timeout: float = 60, *, says: str = "") -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, says or "the condition never held"
        time.sleep(0.02)


def essence(server: Server, search: str) -> tuple[list[Any], list[Any], float]:
    """What must not depend on what happened to the processes."""
    front = server.front(search)
    return (
        [(e["number"], e["subnet"], e["metrics"]) for e in server.evaluations(search)],
        [e["number"] for e in front["items"]],
        round(front["hypervolume"], 12),
    )
