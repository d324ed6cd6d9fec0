"""The one stream of everything of an owner, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select

from elasticnas.api_schemas.overview import OverviewState, ThingKind
from elasticnas.api_schemas.problems import Problem
from elasticnas.service.database import Database
from elasticnas.service.overview import events, repository
from elasticnas.service.overview.tables import OwnerEventRow
from tests.event_stream import Event, kept, parse
from tests.service.running import Running, running_service, tar_of


@contextmanager
def followed(running: Running, **options: Any) -> Iterator[list[Event]]:
    """A client that follows everything until the block ends; then the list is filled."""
    service = running.client.app.state.service
    texts: list[str] = []
    reader = threading.Thread(
        target=lambda: texts.append(running.client.get("/v1/events", **options).text), daemon=True
    )
    reader.start()
    running.until(lambda: not service.overview_watcher.is_idle)
    topic = next(iter(service.overview_watcher._topics.values()))
    running.until(lambda: topic.seen is not None)
    found: list[Event] = []
    yield found
    running.until(lambda: topic.seen.last_event == last_event(running))
    service.overview_watcher.close()
    reader.join(timeout=20)
    assert not reader.is_alive()
    found += parse(texts[0].splitlines())


def last_event(running: Running) -> int:
    with running.client.app.state.service.database.read() as session:
        return repository.last_events(session, ["default"])["default"]


def states(found: list[Event], identity: str) -> list[str]:
    return [e.data["state"] for e in kept(found) if e.data["id"] == identity]


def test_every_change_of_searches_and_registrations_is_told_once_and_in_order(service: Running):
    with followed(service) as found:
        body = service.body(name="one", budget={"evaluations": 6})
        ids = [service.client.post("/v1/searches", json=body).json()["id"] for _ in range(2)]
        for each in ids:
            service.wait(each)
        assert service.client.delete(f"/v1/searches/{ids[1]}").status_code == 204
    assert found[0].kind == "progress"
    assert states(found, ids[0]) == ["queued", "running", "completed"]
    assert states(found, ids[1]) == ["queued", "running", "completed", "deleted"]
    assert states(found, body["supernet_id"]) == ["running", "completed"]
    told = kept(found)
    assert [e.id for e in told] == list(range(1, len(told) + 1))
    of_search = next(e.data for e in told if e.data["id"] == ids[0])
    assert (of_search["kind"], of_search["name"]) == ("search", "one")
    assert {e.data["kind"] for e in told} == {"search", "job"}


def test_a_client_that_was_away_is_told_what_it_missed(light_service: Running):
    first = light_service.search(budget={"evaluations": 3})
    light_service.wait(first)
    seen = last_event(light_service)
    second = light_service.search(budget={"evaluations": 3})
    light_service.wait(second)
    with followed(light_service, headers={"Last-Event-ID": str(seen)}) as found:
        pass
    assert [e.id for e in kept(found)] == list(range(seen + 1, last_event(light_service) + 1))
    assert states(found, second) == ["queued", "running", "completed"]
    assert states(found, first) == []


def test_progress_is_of_all_that_has_not_ended(light_service: Running):
    light_service.worker.open.clear()
    over = light_service.search(budget={"evaluations": 3})
    light_service.client.post(f"/v1/searches/{over}/cancel")
    under_way = light_service.search(budget={"evaluations": 3})
    light_service.until(
        lambda: light_service.get(f"/v1/searches/{under_way}")["state"] == "running"
    )
    with followed(light_service) as found:
        pass
    first = found[0].data
    assert [each["id"] for each in first["searches"]] == [under_way]
    assert first["searches"][0]["progress"]["budget_evaluations"] == 3
    assert first["jobs"] == []


def test_a_registration_that_fails_and_goes_is_told_with_its_problem(light_service: Running):
    light_service.worker.rejection = Problem(title="no", status=422, detail="a tensor lacks")
    with followed(light_service) as found:
        archive = {"archive": ("net.tar", tar_of({"base/x": "1"}))}
        answer = light_service.client.post("/v1/supernets?wait=60", files=archive)
        identity = answer.json()["supernet_id"]
        light_service.client.delete(f"/v1/supernets/{identity}")
    assert states(found, identity) == ["running", "failed", "deleted"]
    failed = kept(found)[1].data
    assert failed["problem"]["detail"] == "a tensor lacks"


def state(name: str) -> OverviewState:
    return OverviewState(kind=ThingKind.SEARCH, id=name, name=name, state="running")


def test_numbers_have_no_gap_when_many_transactions_add_at_once(database: Database):
    """Also when an owner's first events come together; what is rolled back leaves no number."""

    def add(i: int) -> None:
        try:
            with database.write() as session:
                events.tell(session, "somebody", state(f"search-{i}"))
                if i % 5 == 0:
                    raise RuntimeError("rolled back")
        except RuntimeError:
            pass

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    with database.read() as session:
        numbers = session.scalars(select(OwnerEventRow.number).order_by(OwnerEventRow.number)).all()
        assert numbers == list(range(1, 33))
        assert repository.last_events(session, ["somebody", "else"]) == {"somebody": 32, "else": 0}


def test_old_events_are_forgotten(database: Database, monkeypatch):
    monkeypatch.setattr(repository, "KEPT", 3)
    for i in range(5):
        with database.write() as session:
            events.tell(session, "somebody", state(f"search-{i}"))
    with database.read() as session:
        rows = repository.since(session, {"somebody": 0, "else": 0}, limit=10)
        assert [row.number for row in rows] == [3, 4, 5]
        assert rows[0].data["id"] == "search-2"


def test_an_owner_is_told_of_their_own_alone(light_service: Running):
    with light_service.client.app.state.service.database.write() as session:
        events.tell(session, "somebody else", state("search-of-theirs"))
    mine = light_service.search(budget={"evaluations": 3})
    light_service.wait(mine)
    with followed(light_service, params={"last_event_id": 0}) as found:
        pass
    assert states(found, "search-of-theirs") == []
    assert states(found, mine) == ["queued", "running", "completed"]


def test_an_id_that_was_never_given_is_refused(light_service: Running):
    answer = light_service.client.get("/v1/events", headers={"Last-Event-ID": "7"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/Last-Event-ID"


def test_what_was_told_outlives_a_restart(sqlite_url, tmp_path):
    with running_service(sqlite_url, tmp_path) as running:
        search_id = running.search(budget={"evaluations": 3})
        running.wait(search_id)
        seen = last_event(running)
    with running_service(sqlite_url, tmp_path) as running:
        with followed(running, headers={"Last-Event-ID": str(seen - 1)}) as found:
            pass
        assert states(found, search_id) == ["completed"]
