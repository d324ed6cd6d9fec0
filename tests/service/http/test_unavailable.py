"""While the database is away, locked or read-only: 503 and when to come back; probes answer."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, text

from elasticnas.service.database import Database
from tests.backing import PostgresServer
from tests.service.running import running_service


def assert_told_to_come_back(answer) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["type"] == "/problems/database-unavailable"
    assert int(answer.headers["retry-after"]) > 0


def test_a_lock_held_by_others_is_503(light_service, caplog):
    body = light_service.body()
    path = light_service.settings.resolved_database_url.removeprefix("sqlite:///")
    holder = sqlite3.connect(path, isolation_level=None, timeout=30)
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert_told_to_come_back(light_service.client.post("/v1/searches", json=body))
        assert light_service.get("/v1/searches")["items"] == []
    finally:
        holder.execute("ROLLBACK")
    requests = [each for each in caplog.records if each.name == "elasticnas.service.http.errors"]
    assert requests
    assert not [each for each in requests if each.exc_info]
    assert light_service.client.post("/v1/searches", json=body).status_code == 201


def test_a_read_only_postgresql_is_503(postgres_url, tmp_path):
    with running_service(postgres_url, tmp_path) as running:
        body = running.body()
        database = Database(postgres_url)
        with database.write() as session:
            name = session.scalar(text("SELECT current_database()"))
            session.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
        running.client.app.state.service.database.engine.dispose()
        try:
            assert_told_to_come_back(running.client.post("/v1/searches", json=body))
            assert running.client.get("/v1/searches").status_code == 200
        finally:
            with database.write() as session:
                session.execute(text("SET TRANSACTION READ WRITE"))
                session.execute(text(f"ALTER DATABASE {name} RESET default_transaction_read_only"))
            database.close()
            running.client.app.state.service.database.engine.dispose()
        running.until(
            lambda: running.client.post("/v1/searches", json=body).status_code == 201, timeout=30
        )


@pytest.fixture
def own_postgres(tmp_path) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path).start()
    yield server
    server.stop()


def test_a_postgresql_that_restarts_is_503(own_postgres, tmp_path):
    with running_service(own_postgres.url, tmp_path, coordinate=False) as running:
        dataset_id = running.dataset()
        own_postgres.stop()
        for path in ("/v1/searches", f"/v1/datasets/{dataset_id}", "/v1/workers"):
            assert_told_to_come_back(running.client.get(path))
        assert_told_to_come_back(running.client.delete(f"/v1/datasets/{dataset_id}"))
        ready = running.client.get("/readyz")
        assert ready.status_code == 503
        assert [each["name"] for each in ready.json()["missing"]] == ["database"]
        assert running.client.get("/healthz").status_code == 200
        own_postgres.start()
        path = f"/v1/datasets/{dataset_id}"
        running.until(lambda: running.client.get(path).status_code == 200, timeout=120)
        ready = running.client.get("/readyz")
        assert [each["name"] for each in ready.json()["missing"]] == ["coordinator"]


def test_a_full_database_is_507(light_service):
    body = light_service.body()
    engine = light_service.client.app.state.service.database.engine

    @event.listens_for(engine, "before_cursor_execute")
    def fail(_connection, cursor, statement, *_rest):
        if statement.startswith("INSERT INTO searches"):
            cursor.execute("PRAGMA max_page_count = 1")

    body["name"] = "x"
    body["initial_subnets"] = [{"layer.0.heads": 12} for _ in range(10_000)]
    answer = light_service.client.post("/v1/searches", json=body)
    event.remove(engine, "before_cursor_execute", fail)
    assert answer.status_code == 507
    assert answer.json()["type"] == "/problems/storage-full"


def test_probes_do_not_wait_behind_requests_for_a_frozen_database(light_service, monkeypatch):
    """More requests wait than the pool has threads, until the probes have answered."""
    thawed = threading.Event()
    ask, check = Database.read, Database.check

    def frozen(original):
        def wait(self, *arguments):
            thawed.wait(60)
            return original(self, *arguments)

        return wait

    monkeypatch.setattr(Database, "read", frozen(ask))
    monkeypatch.setattr(Database, "check", frozen(check))
    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(light_service.client.get, "/v1/searches") for _ in range(60)]
        try:
            for _ in range(3):
                assert light_service.client.get("/healthz").status_code == 200
                ready = light_service.client.get("/readyz")
                assert ready.status_code == 503
                missing = ready.json()["missing"]
                assert missing == [{"name": "database", "reason": "the database does not answer"}]
            assert light_service.client.get("/nothing").status_code == 404
            assert light_service.client.get("/v1/searches?limit=0").status_code == 422
            checks = [each for each in threading.enumerate() if each.name == "check-database"]
            assert len(checks) == 1
            assert not any(each.done() for each in waiting)
        finally:
            thawed.set()
        assert {each.result().status_code for each in waiting} == {200}
    light_service.until(lambda: light_service.client.get("/readyz").status_code == 200)


def test_a_dead_coordinator_is_named(light_service, monkeypatch):
    coordinator = light_service.client.app.state.service.coordinator
    monkeypatch.setattr(type(coordinator), "is_alive", property(lambda _self: False))
    (missing,) = light_service.client.get("/readyz").json()["missing"]
    assert missing == {"name": "coordinator", "reason": "searches are not being driven"}
