"""PostgreSQL that goes silent, moves away, is busy, or turns read-only."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest
import sqlalchemy.exc
from sqlalchemy import text
from sqlalchemy.engine import make_url

from elasticnas.api_schemas.messages import WorkerAlive
from elasticnas.service.database import Database
from elasticnas.service.database_errors import is_unavailable
from elasticnas.service.postgresql import Limits, concerns_one_transaction, connect_arguments
from elasticnas.service.queue import NotRecordedError
from elasticnas.service.result_recorder import Recorder
from elasticnas.service.searches.lease import Lease
from elasticnas.service.workers.tables import WorkerRow
from tests.proxy import Proxy


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[Proxy]:
    """In front of the PostgreSQL of the tests."""
    made = Proxy(make_url(postgres_url).port or 5432)
    yield made
    made.close()


@pytest.fixture
def database(postgres_url: str, proxy: Proxy) -> Iterator[Database]:
    """Behind the proxy; an empty schema, brought up to date."""
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    url = make_url(postgres_url).set(host="127.0.0.1", port=proxy.port)
    opened = Database(
        url.render_as_string(hide_password=False), Limits.of_requests(2), Limits.of_work(3)
    )
    opened.migrate()
    yield opened
    opened.close()


def ask(database: Database) -> int:
    with database.read() as session:
        return int(session.execute(text("SELECT 42")).scalar_one())


def fails(database: Database) -> Exception:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - its kind is what is looked at
        ask(database)
    return raised.value


def until_it_answers(database: Database) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(sqlalchemy.exc.OperationalError):
            assert ask(database) == 42
            return
        time.sleep(0.05)
    raise AssertionError("the database never answered again")


@pytest.mark.parametrize("comes_back", ["resume", pytest.param("move", marks=pytest.mark.slow)])
def test_a_silent_server_is_given_up_and_found_again(
    database: Database, proxy: Proxy, comes_back: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO, logger="elasticnas.service.postgresql")
    assert ask(database) == 42
    proxy.freeze()
    for each in (database, database.patient):
        assert is_unavailable(fails(each))
    threads = [threading.Thread(target=fails, args=(database,)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
        assert not thread.is_alive()
    getattr(proxy, comes_back)()
    for each in (database, database.patient):
        until_it_answers(each)
    said = [record.message for record in caplog.records]
    assert sum("does not answer" in line for line in said) == 2, said  # once for each pool
    assert sum("answers again" in line for line in said) == 2, said


def test_what_waits_while_the_server_goes_silent_ends(database: Database, proxy: Proxy):
    """The statement is under way: the server is at it, and its answer never comes."""
    caught: list[Exception] = []

    def wait() -> None:
        try:
            with database.write() as session:
                session.execute(text("SELECT pg_sleep(1)"))
        except Exception as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.3)
    proxy.freeze()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert "no answer within" in str(caught[0])
    assert is_unavailable(caught[0])
    proxy.move()
    until_it_answers(database)


def test_while_it_is_away_one_tries_and_the_others_fail_at_once(database: Database, proxy: Proxy):
    assert ask(database) == 42
    proxy.freeze()
    fails(database)
    errors: list[str] = []
    threads = [
        threading.Thread(target=lambda: errors.append(str(fails(database)))) for _ in range(30)
    ]
    time.sleep(0.5)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum("a moment ago" in error for error in errors) >= 28


def test_a_slow_statement_is_cancelled_and_its_connection_kept(database: Database):
    with database.read() as session:
        mine = session.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with pytest.raises(Exception, match="statement timeout") as raised, database.read() as session:
        session.execute(text("SELECT pg_sleep(60)"))
    assert is_unavailable(raised.value)
    assert concerns_one_transaction(raised.value)
    with database.read() as session:
        assert session.execute(text("SELECT pg_backend_pid()")).scalar_one() == mine


def test_a_transaction_with_patience_may_take_longer(database: Database):
    with database.patient.write(patience=60) as session:
        session.execute(text("SELECT pg_sleep(4)"))
        shown = session.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
    assert shown == "1min"
    with database.patient.read() as session:
        assert session.execute(text("SHOW statement_timeout")).scalar_one() == "3s"


def test_a_lock_that_a_vanished_client_holds_is_given_up(
    postgres_url: str, database: Database, proxy: Proxy
):
    """The server ends the transaction of a client that it does not hear of any more."""
    with database.write() as session:
        session.add(
            WorkerRow(
                name="w",
                device="cpu",
                evaluations=0,
                warm_supernets=[],
                evaluating=[],
                started_at=datetime.now(UTC),
                last_seen_at=datetime.now(UTC),
                stopping=False,
            )
        )

    def lock_and_vanish() -> None:
        with database.write() as session:
            session.execute(text("SET LOCAL idle_in_transaction_session_timeout = '3s'"))
            session.execute(text("SELECT * FROM workers FOR UPDATE"))
            proxy.freeze()
            session.execute(text("SELECT 1"))

    with pytest.raises(sqlalchemy.exc.OperationalError, match="no answer"):
        lock_and_vanish()
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as other:
        other.execute("SET lock_timeout = '60s'")
        other.execute("UPDATE workers SET evaluations = 1")


def test_what_the_url_says_wins():
    plain = make_url("postgresql+psycopg://u@h/d")
    ours = connect_arguments(plain, Limits.of_requests(4))
    assert ours["keepalives_idle"] == 10
    assert "-c statement_timeout=3500" in ours["options"]
    url = make_url(
        "postgresql+psycopg://u@h/d?keepalives_idle=99&options=-c%20statement_timeout%3D7"
    )
    told = connect_arguments(url, Limits.of_requests(4))
    assert "keepalives_idle" not in told
    assert told["options"].endswith("-c statement_timeout=7")


def test_the_servers_own_limits_are_those_of_the_url(postgres_url: str):
    database = Database(f"{postgres_url}?options=-c%20lock_timeout%3D1234")
    with database.read() as session:
        assert session.execute(text("SHOW lock_timeout")).scalar_one() == "1234ms"
        assert session.execute(text("SHOW statement_timeout")).scalar_one() == "3500ms"
    database.close()


def test_results_of_a_read_only_database_wait(postgres_url: str, database: Database):
    """And the connection is left: what was the primary may be a standby by now."""
    alive = WorkerAlive(
        worker="w", device="cpu", started_at=datetime.now(UTC), evaluations=0, warm_supernets=()
    )
    recorder = Recorder(database, lambda: None, lambda *_: None)
    recorder.record(alive)
    name = make_url(postgres_url).database
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as other:
        other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with database.patient.write() as session:
            session.execute(text("SET SESSION default_transaction_read_only = on"))
        with pytest.raises(NotRecordedError, match="ReadOnlySqlTransaction"):
            recorder.record(alive)
        other.execute("SET default_transaction_read_only = off")
        other.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    recorder.record(alive)


@pytest.mark.parametrize("renews", [True, False])
def test_a_coordinator_whose_database_is_silent_does_not_wait_to_give_its_searches_back(
    database: Database, proxy: Proxy, renews: bool, caplog: pytest.LogCaptureFixture
):
    """Its work may wait for thirty seconds; its end, with the process's, may not."""
    opened = Database(database.engine.url.render_as_string(hide_password=False))
    lease = Lease(opened.patient, seconds=0.3 if renews else 600, exclusive=False)
    lease.start()
    proxy.freeze()
    time.sleep(0.5)  # one that renews does so now, and hears nothing
    begin = time.monotonic()
    lease.stop()
    assert time.monotonic() - begin < 8
    assert "their lease will expire" in caplog.text
    proxy.move()
