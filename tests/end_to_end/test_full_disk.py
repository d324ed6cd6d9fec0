"""The disk of the database fills up in the middle of a search."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.end_to_end.cluster import essence, until
from tests.end_to_end.server import Server, write_rows
from tests.supernet.test_reader import write_lonas

REQUEST = {"budget": {"evaluations": 40}, "seed": 11, "max_length": 32}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(mount)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no small file system can be mounted here: {done.stderr.strip()}")
    yield mount
    subprocess.run(["umount", "--lazy", str(mount)], check=True)


def fill(filler: Path) -> None:
    """Write a file until there is no room left."""
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def is_out_of_room(server: Server) -> bool:
    """Whether the server says that it cannot take work, and why."""
    ready = server.client.get("/readyz")
    return ready.status_code == 503 and "full" in ready.json()["detail"]


@pytest.mark.slow
def test_a_search_is_paused_until_there_is_room_and_nothing_is_corrupt(
    serve: Callable[..., Server], small_disk: Path, tmp_path: Path
):
    checkpoint = write_lonas(tmp_path / "checkpoint")
    rows = write_rows(tmp_path / "rows.jsonl", count=300)
    server = serve(folder="disk/data")
    search = server.search(*server.register(checkpoint, rows), **REQUEST)
    until(lambda: server.read(search)["progress"]["completed"] >= 10)

    filler = small_disk / "filler"
    fill(filler)
    until(lambda: "disk is full" in server.log(), says=server.log())
    kept = [e for e in server.evaluations(search) if e["state"] == "completed"]
    # Where the log still has a few free pages, the little that pausing writes is written at once.
    until(lambda: is_out_of_room(server) or server.read(search)["state"] == "paused")

    filler.unlink()
    until(lambda: server.read(search)["state"] == "paused", says=server.log())
    paused = server.read(search)
    assert paused["error"]["type"] == "/problems/storage-full"
    assert server.client.get("/readyz").status_code == 200
    with sqlite3.connect(server.data_dir / "elasticnas.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    now = server.evaluations(search)
    assert all(now[e["number"]]["metrics"] == e["metrics"] for e in kept)

    assert server.client.post(f"/v1/searches/{search}/resume").status_code == 200
    assert server.finish(search)["state"] == "completed"
    other = serve(folder="undisturbed")
    again = other.search(*other.register(checkpoint, rows), **REQUEST)
    other.finish(again)
    assert essence(server, search) == essence(other, again)
