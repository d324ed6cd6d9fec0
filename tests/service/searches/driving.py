"""What tests of a search's life do to it."""

from __future__ import annotations

import time
from typing import Any

import httpx2

from tests.event_stream import parse
from tests.service.running import Running
from tests.service.stand_in import accuracy_of


def ask(running: Running, search_id: str, what: str, **body: Any) -> httpx2.Response:
    return running.client.post(f"/v1/searches/{search_id}/{what}", json=body or None)


def move(running: Running, search_id: str, what: str, **body: Any) -> dict[str, Any]:
    answer = ask(running, search_id, what, **body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def read(running: Running, search_id: str) -> dict[str, Any]:
    return running.get(f"/v1/searches/{search_id}")


def states(running: Running, search_id: str) -> list[str]:
    """Every state the search has been in; the search must be over."""
    answer = running.client.get(f"/v1/searches/{search_id}/events", params={"last_event_id": 0})
    found = parse(answer.text.splitlines())
    return [event.data["state"] for event in found if event.kind == "state"]


def slowly(running: Running, seconds: float = 0.01) -> None:
    """Let every evaluation take this long."""

    def measured(subnet: dict[str, int]) -> dict[str, float]:
        time.sleep(seconds)
        return {"accuracy": accuracy_of(subnet)}

    running.worker.metrics = measured


def done(running: Running, search_id: str, count: int) -> None:
    """Wait until so many evaluations are recorded."""
    running.until(lambda: read(running, search_id)["progress"]["completed"] >= count)


def quiet(running: Running, seconds: float = 0.5) -> None:
    """Wait until the worker has begun nothing for so long."""
    count = -1
    while count != len(running.worker.evaluated):
        count = len(running.worker.evaluated)
        time.sleep(seconds)


def undisturbed(running: Running, like: str, **fields: Any) -> str:
    """The same request on the same super-network, none of it answered from the database."""
    search = read(running, like)
    other_data = running.dataset(rows=8)
    search_id = running.search(supernet_id=search["supernet_id"], dataset_id=other_data, **fields)
    assert running.wait(search_id)["progress"]["cached"] == 0
    return search_id


def flaky(running: Running) -> list[bool]:
    """Evaluations with 9 heads in the first layer fail while the list says so."""
    broken = [True]

    def metrics(subnet: dict[str, int]) -> dict[str, float]:
        if broken[0] and subnet["layer.0.heads"] == 9:
            raise RuntimeError("the device is away")
        return {"accuracy": accuracy_of(subnet)}

    running.worker.metrics = metrics
    return broken
