"""kill -9 in the middle of a search, and start again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.end_to_end.cluster import essence
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
    ids = server.register(checkpoint, rows)
    rehearsal = server.search(*ids, **REQUEST)
    server.finish(rehearsal)
    undisturbed = essence(server, rehearsal)
    # Deleted, so that nothing of it is answered from the database.
    assert server.client.delete(f"/v1/searches/{rehearsal}").status_code == 204

    search = server.search(*ids, **REQUEST)
    wait_for(server, search, 6)
    finished = [e for e in server.evaluations(search) if e["state"] == "completed"]
    server.kill()
    server.start()
    now = {e["number"]: e for e in server.evaluations(search)}
    for evaluation in finished:
        after = now[evaluation["number"]]
        assert after["metrics"] == evaluation["metrics"]
        assert after["finished_at"] == evaluation["finished_at"]
    end = server.finish(search)
    assert (end["state"], end["progress"]["cached"]) == ("completed", 0)
    disturbed = server.evaluations(search)
    assert [e["number"] for e in disturbed] == list(range(24))
    assert all(e["state"] == "completed" for e in disturbed)
    assert essence(server, search) == undisturbed
