"""What the client makes of the server's answers."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
import pytest

from elasticnas.api_schemas.supernets import SupernetPending
from elasticnas.client import Client, ServerProblemError

PENDING = {
    "id": "supernet-1",
    "name": "net",
    "state": "reading",
    "problem": None,
    "waiting_for": "a worker: none is alive",
    "size_bytes": 1,
    "digest": "d",
    "created_at": "2026-11-28T12:00:00Z",
}
PROBLEM = {
    "type": "/problems/invalid-checkpoint",
    "title": "The checkpoint cannot be used",
    "status": 422,
    "detail": "nncf_config.json: unknown group",
}
COST = {
    "gflops": 1.0,
    "params": 1,
    "nonzero_params": 1,
    "trainable_params": 1,
    "torch_flops": 1,
    "breakdown": {"linear": 1, "adapters": 0, "head": 0, "attention": 0},
    "max_length": 64,
}
READY = {
    **{name: PENDING[name] for name in ("id", "name", "size_bytes", "digest", "created_at")},
    "state": "ready",
    "method": "lonas",
    "model_type": "bert",
    "head": "classifier",
    "num_labels": 2,
    "reference_length": 64,
    "max_positions": 128,
    "space": {"size": 2, "dimensions": 1, "parts": {"rank": 1}},
    "cost": {"maximal": COST, "minimal": COST},
}


def client(answers: list[dict]) -> Client:
    """One whose server is still reading an upload, and is asked for it again and again."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            return httpx2.Response(202, json=PENDING)
        assert request.url.path == "/v1/supernets/supernet-1"
        assert request.headers["Prefer"] == "wait=10"
        return httpx2.Response(200, json=answers.pop(0), headers={"Retry-After": "0"})

    return Client("http://server", transport=httpx2.MockTransport(answer))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "net.tar"
    path.write_bytes(b"x")
    return path


def test_an_upload_that_is_still_being_read_is_waited_for(archive: Path):
    heard: list[str | None] = []

    def note(pending: SupernetPending) -> None:
        heard.append(pending.waiting_for)

    found = client([PENDING, PENDING, READY]).add_supernet(archive, "net", note)
    assert found.space.size == 2
    assert heard == ["a worker: none is alive"] * 3


def test_what_a_late_reading_finds_wrong_is_the_servers_problem(archive: Path):
    failed = {**PENDING, "state": "failed", "problem": PROBLEM, "waiting_for": None}
    with pytest.raises(ServerProblemError, match="unknown group"):
        client([PENDING, failed]).add_supernet(archive, "net")


def test_lists_show_super_networks_in_every_state():
    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(
            200, content=json.dumps({"items": [PENDING, READY], "next_cursor": None})
        )

    made = Client("http://server", transport=httpx2.MockTransport(answer))
    assert [each.state for each in made.supernets()] == ["reading", "ready"]
