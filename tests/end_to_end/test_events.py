"""Event streams of a real server, which is told to stop while clients listen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.server import Server, write_rows
from tests.event_stream import Event, kept, parse
from tests.supernet.test_reader import write_lonas


def listen(server: Server, search: str, found: list[Event], after: int | None = None) -> None:
    """Follow a search until the server ends the stream."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    path = f"/v1/searches/{search}/events"
    with server.client.stream("GET", path, headers=headers) as answer:
        assert answer.status_code == 200
        for event in parse(answer.iter_lines()):
            found.append(event)


def go_away(server: Server, ids: tuple[str, str]) -> None:
    """Begin to follow a search thirty times, and leave each time."""
    search = server.search(*ids, budget={"evaluations": 5}, seed=3)
    server.client.post(f"/v1/searches/{search}/pause")
    for _ in range(30):
        with server.client.stream("GET", f"/v1/searches/{search}/events") as answer:
            assert next(parse(answer.iter_lines())).kind == "progress"
    server.client.post(f"/v1/searches/{search}/resume")
    assert server.finish(search)["progress"]["completed"] == 5


@pytest.mark.slow
def test_a_stopping_server_ends_its_streams_and_the_next_one_carries_them_on(
    serve: Callable[..., Server], tmp_path: Path
):
    """Clients that went away before have left nothing that it would wait for."""
    server = serve()
    checkpoint = write_lonas(tmp_path / "checkpoint")
    ids = server.register(checkpoint, write_rows(tmp_path / "rows.jsonl", count=300))
    go_away(server, ids)
    search = server.search(*ids, budget={"evaluations": 60}, seed=4)
    streams: list[list[Event]] = [[] for _ in range(5)]
    readers = [threading.Thread(target=listen, args=(server, search, each, 0)) for each in streams]
    for reader in readers:
        reader.start()
    deadline = time.monotonic() + 60
    while not all(len(kept(each)) >= 3 for each in streams):
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.02)
    assert server.process is not None
    server.process.terminate()
    asked = time.monotonic()
    for reader in readers:
        reader.join(timeout=10)
        assert not reader.is_alive(), "a stream goes on although the server is stopping"
    assert time.monotonic() - asked < 3
    assert server.stop() == 0
    server.start()
    last = max(kept(streams[0]), key=lambda event: event.id).id
    rest: list[Event] = []
    listen(server, search, rest, last)
    numbers = [event.id for event in kept(streams[0] + rest)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert rest[-1].data["state"] == "completed"
    assert server.read(search)["progress"]["completed"] == 60
    answer = server.client.get(
        f"/v1/searches/{search}/events", headers={"Last-Event-ID": str(rest[-1].id)}
    )
    assert answer.status_code == 204
