"""Servers for the end-to-end tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.backing import PostgresServer, RedisServer
from tests.end_to_end.cluster import Cluster
from tests.end_to_end.server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that the tests share: each looks at what is its own there."""
    server = Server(tmp_path_factory.mktemp("server") / "data").start()
    yield server
    server.stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers on a data folder of the test; all are stopped at its end."""
    started: list[Server] = []

    def start(*options: str, folder: str = "data", **environment: str) -> Server:
        server = Server(tmp_path / folder, *options, **environment)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        if server.process is not None and server.process.poll() is None:
            server.kill()


@pytest.fixture
def postgres_server(tmp_path: Path) -> Iterator[PostgresServer]:
    """A private PostgreSQL."""
    server = PostgresServer(tmp_path).start()
    yield server
    server.stop()


@pytest.fixture
def cluster(
    tmp_path: Path, postgres_server: PostgresServer, redis_server: RedisServer
) -> Iterator[Cluster]:
    """A cluster on a private PostgreSQL and a private Redis; no process is started yet."""
    built = Cluster(tmp_path, postgres_server.url, redis_server.url)
    yield built
    built.close()
