"""The same job with the queue in Redis and the worker in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from tests.end_to_end.server import Server, write_rows
from tests.supernet.test_reader import write_lonas


@pytest.mark.slow
def test_a_worker_of_its_own_does_the_work(
    serve: Callable[..., Server], redis_url: str, tmp_path: Path
):
    server = serve("--redis-url", redis_url)
    worker = subprocess.Popen(
        [
            *(sys.executable, "-m", "elasticnas.cli.main", "worker", "--redis-url", redis_url),
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
        assert redis.from_url(redis_url).keys("dramatiq:evaluations.*.msgs") == []
    finally:
        worker.kill()
        worker.wait()
