"""What a search loses when its coordinator changes again and again: nothing, and no time."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from dramatiq.brokers.stub import StubBroker
from sqlalchemy import delete, select

from elasticnas.api_schemas.messages import WorkerAlive
from elasticnas.api_schemas.precision import Precision
from elasticnas.service.database import Database, clock
from elasticnas.service.queue import Queue, QueueUnavailableError
from elasticnas.service.searches.coordinator import Coordinator
from elasticnas.service.searches.coordinator_repository import count_alive
from elasticnas.service.searches.tables import CoordinatorRow, EvaluationRow, SearchRow
from elasticnas.service.settings import ServiceSettings
from elasticnas.service.signals import LocalSignals
from elasticnas.service.supernets.report_cache import ReportCache
from elasticnas.service.workers import repository as workers
from tests.service.running import running_service

LEASE = 3.0
TAKEOVERS = 100


def ages(database: Database, search_id: str) -> list[tuple[int, float]]:
    """Of each evaluation that a message carries: which attempt it is, and its age in seconds."""
    with database.read() as session:
        rows = session.scalars(
            select(EvaluationRow).where(
                EvaluationRow.search_id == search_id, EvaluationRow.sent_generation.is_not(None)
            )
        ).all()
        moment = clock(session)
    return [(row.attempt, (moment - row.sent_at).total_seconds()) for row in rows]


@pytest.mark.slow
def test_a_hundred_takeovers_delay_a_lost_evaluation_by_no_more_than_its_lease(
    database: Database, database_url: str, tmp_path
):
    """Each coordinator is killed after one tick; a worker lives, and no message reaches it."""
    with running_service(database_url, tmp_path) as running:
        body = running.body(budget={"evaluations": 4}, parallel_evaluations=4)
    options = {"coordinate": False, "evaluation_lease_seconds": LEASE}
    with running_service(database_url, tmp_path, worker_runs=False, **options) as running:
        search_id = running.search(**body)
        with database.write() as session:
            workers.record(
                session,
                WorkerAlive(
                    worker="w",
                    device="cpu",
                    started_at=datetime.now(UTC),
                    evaluations=0,
                    warm_supernets=(),
                    precisions=(Precision.FLOAT32,),
                ),
            )
        broker = StubBroker()
        queue, known = Queue(broker, LocalSignals(broker)), ReportCache()
        settings = running.settings.model_copy(update={"worker_silence_seconds": 3600})
        owners = set()
        first: list[int] = []
        for takeover in range(TAKEOVERS):
            before, began = ages(database, search_id), time.monotonic()
            Coordinator(database, queue, known, settings, exclusive=False).tick()
            after = ages(database, search_id)
            overdue = [age for attempt, age in before if attempt == 1 and age > LEASE]
            assert not overdue or all(attempt > 1 for attempt, _ in after), (before, after)
            seconds = time.monotonic() - began
            if before and max(age for _, age in before) + seconds < LEASE:
                assert [a for a, _ in before] == [a for a, _ in after]
            if after and all(attempt > 1 for attempt, _ in after):
                first.append(takeover)
            with database.read() as session:
                owners.add(session.get_one(SearchRow, search_id).coordinator_id)
            time.sleep(2 * LEASE / TAKEOVERS)
    assert len(owners) == TAKEOVERS
    assert first, "nothing was ever sent again"
    assert len(before) == 4


def test_workers_are_heard_by_the_databases_clock(database: Database, monkeypatch):
    """The hosts of two coordinators are an hour apart; whoever looks sees the worker alive."""
    if database.engine.dialect.name == "sqlite":
        return  # whoever shares a SQLite file is on one host
    alive = WorkerAlive(
        worker="w",
        device="cpu",
        started_at=datetime.now(UTC),
        evaluations=0,
        warm_supernets=(),
    )
    for hours in (-1, 1):
        with monkeypatch.context() as elsewhere:
            there = datetime.now(UTC) + timedelta(hours=hours)
            elsewhere.setattr("elasticnas.service.database.now", lambda there=there: there)
            with database.write() as session:
                workers.record(session, alive)
        with database.read() as session:
            assert [row.name for row in workers.alive(session, timedelta(seconds=30))] == ["w"]
            assert workers.alive(session, timedelta(seconds=0)) == []


def test_a_coordinator_that_hangs_loses_its_lease_until_it_gets_somewhere(
    database: Database, monkeypatch
):
    monkeypatch.setattr("elasticnas.service.searches.coordinator.HANGS_SECONDS", 0.5)
    broker, thawed, ticks = StubBroker(), threading.Event(), []
    queue = Queue(broker, LocalSignals(broker))
    settings = ServiceSettings(coordinator_lease_seconds=1, tick_seconds=0.01)
    driving = Coordinator(database, queue, ReportCache(), settings, exclusive=False)

    def tick() -> None:
        ticks.append(None)
        if len(ticks) == 5:
            thawed.wait()

    monkeypatch.setattr(driving, "tick", tick)

    def becomes(count: int) -> None:
        deadline = time.monotonic() + 30
        while True:
            with database.read() as session:
                if count_alive(session) == count:
                    return
            assert time.monotonic() < deadline
            time.sleep(0.05)

    driving.start()
    try:
        becomes(0)
        assert len(ticks) == 5
        assert not driving.drives
        thawed.set()
        becomes(1)
    finally:
        thawed.set()
        driving.stop()


def test_the_coordinator_inside_the_server_is_there_though_its_row_has_expired(light_service):
    """As after a while without the database: nobody is told to start another."""
    service = light_service.client.app.state.service
    with service.database.write() as session:
        session.execute(delete(CoordinatorRow))
        assert count_alive(session) == 0
        present = service.present(session)
    assert present.coordinators == 1
    assert "coordinator" not in (present.lacking(queue="inspections") or "")


def test_a_coordinator_inside_the_server_that_hangs_is_named(light_service, monkeypatch):
    service = light_service.client.app.state.service
    monkeypatch.setattr(Coordinator, "drives", property(lambda _self: False))
    with service.database.write() as session:
        session.execute(delete(CoordinatorRow))
        assert "start the server anew" in service.present(session).lacking(queue="inspections")


def test_errands_are_run_again_when_they_fail(sqlite_url, monkeypatch):
    """And what fails in it keeps no search from going on."""
    monkeypatch.setattr("elasticnas.service.searches.coordinator.GLANCE_SECONDS", -1.0)
    database = Database(sqlite_url)
    database.migrate()
    broker, failures = StubBroker(), [QueueUnavailableError("away"), ValueError("a fault")]
    asked = []

    def errands() -> None:
        asked.append(len(failures))
        if failures:
            raise failures.pop()

    settings = ServiceSettings(database_url=sqlite_url)
    queue = Queue(broker, LocalSignals(broker))
    driving = Coordinator(database, queue, ReportCache(), settings, exclusive=True, errands=errands)
    for _ in range(5):
        driving.tick()
    database.close()
    assert asked == [2, 1, 0, 0, 0]
