"""What an error of the database means."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
import sqlalchemy.exc
from sqlalchemy import text

from elasticnas.service.database import Database
from elasticnas.service.database_errors import is_disk_full, is_transient, is_unavailable, summary
from tests.backing import free_port


def failing(database: Database, statement: str, *before: str) -> BaseException:
    """The error of a statement."""
    with pytest.raises(sqlalchemy.exc.SQLAlchemyError) as caught:
        _run(database, *before, statement)
    return caught.value


def _run(database: Database, *statements: str) -> None:
    with database.write() as session:
        for each in statements:
            session.execute(text(each))


@pytest.mark.parametrize(
    ("statement", "before"),
    [
        ("DELETE FROM searches", ["SET TRANSACTION READ ONLY"]),
        ("SELECT pg_sleep(10)", ["SET LOCAL statement_timeout = 10"]),
        ("SELECT pg_terminate_backend(pg_backend_pid())", []),
        ("DO $$ BEGIN RAISE EXCEPTION 'starting' USING ERRCODE = '57P03'; END $$", []),
        ("DO $$ BEGIN RAISE EXCEPTION 'slots' USING ERRCODE = '53300'; END $$", []),
        ("DO $$ BEGIN RAISE EXCEPTION 'lock' USING ERRCODE = '55P03'; END $$", []),
        ("DO $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$", []),
    ],
    ids=["read-only", "timeout", "killed", "starting", "connections", "lock", "deadlock"],
)
def test_a_postgresql_that_cannot_answer_now_is_unavailable(postgres, statement, before):
    error = failing(postgres, statement, *before)
    assert is_unavailable(error)
    assert is_transient(error)
    assert not is_disk_full(error)
    assert "\n" not in summary(error)
    assert "pg_sleep" not in summary(error)


def test_a_full_disk_of_postgresql_is_no_outage(postgres):
    error = failing(postgres, "DO $$ BEGIN RAISE EXCEPTION 'f' USING ERRCODE = '53100'; END $$")
    assert is_disk_full(error)
    assert is_transient(error)
    assert not is_unavailable(error)


@pytest.mark.parametrize(
    "statement", ["SELECT nothing", "SELECT 1/0", "SELECT 'x'::int", "SELECT * FROM nowhere"]
)
def test_a_fault_of_ours_is_neither(postgres, statement):
    assert not is_transient(failing(postgres, statement))


def test_a_server_that_refuses_connections_is_unavailable():
    database = Database(f"postgresql+psycopg://x@127.0.0.1:{free_port()}/x")
    with pytest.raises(sqlalchemy.exc.OperationalError) as caught:
        database.check()
    assert is_unavailable(caught.value)
    with pytest.raises(psycopg.OperationalError) as bare:
        psycopg.connect(f"postgresql://x@127.0.0.1:{free_port()}/x")
    assert is_unavailable(bare.value)


def test_a_pool_without_a_free_connection_is_unavailable():
    assert is_unavailable(sqlalchemy.exc.TimeoutError("QueuePool limit"))


def test_sqlite_locked_full_and_faulty_are_told_apart(tmp_path):
    path = tmp_path / "a.db"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    holder.execute("BEGIN IMMEDIATE")
    other = sqlite3.connect(path, timeout=0)
    with pytest.raises(sqlite3.OperationalError) as locked:
        other.execute("INSERT INTO t VALUES (1)")
    assert is_unavailable(locked.value)
    with pytest.raises(sqlite3.OperationalError) as faulty:
        other.execute("SELECT * FROM nowhere")
    assert not is_transient(faulty.value)
    holder.execute("ROLLBACK")
    other.execute("PRAGMA max_page_count = 1")
    other.execute("CREATE TABLE IF NOT EXISTS t (x)")
    with pytest.raises(sqlite3.OperationalError) as full:
        other.execute("INSERT INTO t VALUES (zeroblob(1000000))")
    assert is_disk_full(full.value)
    assert not is_unavailable(full.value)


def test_what_is_no_error_of_a_database_is_neither():
    assert not is_transient(ValueError("x"))
    assert not is_transient(None)


@pytest.fixture
def postgres(postgres_url):
    database = Database(postgres_url)
    database.migrate()
    yield database
    database.close()
