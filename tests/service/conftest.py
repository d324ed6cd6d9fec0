"""A service with a stand-in worker, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from elasticnas.service.database import Database
from tests.service.running import Running, running_service

SERVER = os.environ.get("ELASTICNAS_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")


WITH_THE_SLOW_ONES = {
    "test_hostile_input.py": "sqlite",  # PostgreSQL is the one that refuses values
    "test_going_on.py": "postgresql",
    "test_transitions.py": "postgresql",
}
"""Of these files' tests the half on this database runs with the slow ones."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what says little beside its other half."""
    for item in items:
        database = WITH_THE_SLOW_ONES.get(item.path.name)
        parameters = getattr(item, "callspec", None)
        if database and parameters is not None and database in parameters.params.values():
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """An empty database of its own on a running PostgreSQL; tests that share it empty it."""
    with _new_database() as url:
        yield url


@pytest.fixture(scope="module")
def module_postgres_url() -> Iterator[str]:
    """An empty database of the module's own on a running PostgreSQL."""
    with _new_database() as url:
        yield url


@contextmanager
def _new_database() -> Iterator[str]:
    name = f"elasticnas_test_{uuid.uuid4().hex[:12]}"
    try:
        server = psycopg.connect(SERVER, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        pytest.skip(f"no PostgreSQL at {SERVER}: {error}")
    with server:
        server.execute(f"CREATE DATABASE {name}")
    base = SERVER.rsplit("/", 1)[0].replace("postgresql://", "postgresql+psycopg://")
    yield f"{base}/{name}"
    with psycopg.connect(SERVER, autocommit=True) as server:
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    url: str = request.getfixturevalue("postgres_url")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """SQLite, for what does not depend on the database."""
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated database."""
    opened = Database(database_url)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def service(database_url: str, tmp_path: Path) -> Iterator[Running]:
    """A running service on either database."""
    with running_service(database_url, tmp_path) as running:
        yield running


@pytest.fixture
def light_service(sqlite_url: str, tmp_path: Path) -> Iterator[Running]:
    """A running service on SQLite, for what does not depend on the database."""
    with running_service(sqlite_url, tmp_path) as running:
        yield running
