"""kill -9 in the middle of a search, and start again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.server import Server, write_rows
from tests.supernet.test_reader import write_lonas

REQUEST: dict[str, Any] = {"budget": {"evaluations": 24}, "seed": 11, "max_length": 32}


def wait_for(server: Server, search: str, completed: int) -> None:
    deadline = time.monotonic() + 60
    while server.read(search)["progress"]["completed"] < completed:
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.02)


def test_a_killed_server_goes_on_where_it_stopped(serve: Callable[..., Server], tmp_path: Path):
    checkpoint = write_lonas(tmp_path / "checkpoint")
    rows = write_rows(tmp_path / "rows.jsonl", count=300)
    server = serve()
    search = server.search(*server.register(checkpoint, rows), **REQUEST)

    kept: dict[int, dict[str, Any]] = {}
    for completed in (6, 14):
        wait_for(server, search, completed)
        finished = [e for e in server.evaluations(search) if e["state"] == "completed"]
        server.kill()
        server.start()
        now = {e["number"]: e for e in server.evaluations(search)}
        for evaluation in finished:
            after = now[evaluation["number"]]
            assert after["metrics"] == evaluation["metrics"]
            assert after["finished_at"] == evaluation["finished_at"]
        kept |= {e["number"]: e for e in finished}
    end = server.finish(search)
    assert end["state"] == "completed"
    disturbed = server.evaluations(search)
    assert [e["number"] for e in disturbed] == list(range(24))
    assert all(e["state"] == "completed" for e in disturbed)

    other = serve(folder="undisturbed")
    again = other.search(*other.register(checkpoint, rows), **REQUEST)
    other.finish(again)
    assert [(e["subnet"], e["metrics"]) for e in other.evaluations(again)] == [
        (e["subnet"], e["metrics"]) for e in disturbed
    ]
    assert other.front(again)["hypervolume"] == pytest.approx(server.front(search)["hypervolume"])
