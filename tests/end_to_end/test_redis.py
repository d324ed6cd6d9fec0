"""The same job with the queue in Redis and the worker in a process of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from tests.end_to_end.server import Server, free_port, write_rows
from tests.supernet.test_reader import write_lonas


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A private Redis on a free port, started for the test."""
    executable = shutil.which("redis-server")
    if executable is None:
        pytest.skip("redis-server is not installed, so no private Redis can be started")
    port = free_port()
    process = subprocess.Popen(
        [executable, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path],
        stdout=subprocess.DEVNULL,
    )
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"redis://127.0.0.1:{port}/0"
    process.kill()
    process.wait()


def test_a_worker_of_its_own_does_the_work(
    serve: Callable[..., Server], redis_url: str, tmp_path: Path
):
    server = serve("--redis-url", redis_url)
    worker = subprocess.Popen(
        [
            *(sys.executable, "-m", "cli.main", "worker", "--redis-url", redis_url),
            *("--data-dir", str(server.data_dir), "--device", "cpu"),
        ],
    )
    try:
        checkpoint = write_lonas(tmp_path / "checkpoint")
        ids = server.register(checkpoint, write_rows(tmp_path / "rows.jsonl"))
        search = server.search(*ids, budget={"evaluations": 40})
        assert server.finish(search)["progress"]["completed"] == 40
        assert server.weights(search, 0, "transformers").status_code == 200
        workers = server.client.get("/v1/workers").json()["items"]
        assert [w["alive"] for w in workers] == [True]
        assert {e["worker"] for e in server.evaluations(search)} == {workers[0]["name"]}
        worker.terminate()
        assert worker.wait(timeout=60) == 0
        assert redis.from_url(redis_url).llen("dramatiq:evaluations") == 0
    finally:
        worker.kill()
        worker.wait()
