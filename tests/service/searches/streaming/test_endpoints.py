"""The event stream of a search as a client reads it, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy.event
import sqlalchemy.exc

from elasticnas.service.searches import feed as feed_module
from elasticnas.service.streaming import stream as stream_module
from elasticnas.service.streaming import watch as watch_module
from elasticnas.service.streaming import watcher as watcher_module
from tests.event_stream import Event, kept, parse
from tests.service.running import Running
from tests.service.stand_in import accuracy_of


def events(running: Running, search_id: str, **options: Any) -> list[Event]:
    """The whole stream, read to its end."""
    answer = running.client.get(f"/v1/searches/{search_id}/events", **options)
    assert answer.status_code == 200, answer.text
    return list(parse(answer.text.splitlines()))


@contextmanager
def followed(running: Running, search_id: str, **options: Any) -> Iterator[list[Event]]:
    """A client that follows the search to its end; the list is filled when the block ends."""
    found: list[Event] = []
    reader = threading.Thread(
        target=lambda: found.extend(events(running, search_id, **options)), daemon=True
    )
    service = running.client.app.state.service
    reader.start()
    running.until(lambda: not service.watcher.is_idle)
    yield found
    reader.join(timeout=20)
    assert not reader.is_alive()


def test_a_stream_ends_with_the_final_state_and_tells_each_front_point_once(service):
    service.worker.open.clear()
    search_id = service.search()
    service.until(lambda: service.get(f"/v1/searches/{search_id}")["state"] == "running")
    with followed(service, search_id) as found:
        service.worker.open.set()
    assert found[0].kind == "progress"
    assert found[0].data["state"] == "running"
    assert {e.kind for e in found if e.id is None} == {"progress", "evaluation"}
    numbered = kept(found)
    assert numbered[-1].kind == "state"
    assert found[-1] == numbered[-1]
    assert numbered[-1].data["state"] == "completed"
    assert numbered[-1].data["stop_reason"] == "evaluation_budget_spent"
    ids = [e.id for e in numbered]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    on_front: set[int] = set()
    for event in numbered[:-1]:
        assert event.kind == "front"
        on_front = (on_front | {event.data["number"]}) - set(event.data["left"])
        assert event.data["front_size"] == len(on_front)
    front = service.get(f"/v1/searches/{search_id}/front")
    assert on_front == {item["number"] for item in front["items"]}
    assert numbered[-2].data["hypervolume"] == front["hypervolume"]


def test_the_last_progress_before_the_end_is_the_whole(service):
    service.worker.open.clear()
    search_id = service.search()
    with followed(service, search_id) as found:
        service.worker.open.set()
    progress = [e.data for e in found if e.kind == "progress"]
    assert progress[-1]["progress"]["completed"] == 24
    assert progress[-1]["progress"]["fraction"] == 1.0


def test_the_history_is_replayed_after_any_event(service):
    search_id = service.search()
    service.wait(search_id)
    whole = kept(events(service, search_id, params={"last_event_id": 0}))
    assert [e.id for e in whole] == list(range(1, len(whole) + 1))
    assert [e.data["state"] for e in whole if e.kind == "state"] == ["running", "completed"]
    for number in (1, len(whole) // 2, len(whole) - 1):
        header = {"Last-Event-ID": str(number)}
        again = kept(events(service, search_id, headers=header, params={"last_event_id": 0}))
        assert again == whole[number:]


def test_a_long_history_is_replayed_in_pages(light_service, monkeypatch):
    monkeypatch.setattr(watcher_module, "EVENTS_AT_ONCE", 2)
    search_id = light_service.search()
    light_service.wait(search_id)
    whole = kept(events(light_service, search_id, params={"last_event_id": 0}))
    assert len(whole) > 4
    assert [e.id for e in whole] == list(range(1, len(whole) + 1))


def test_a_client_that_has_seen_the_end_is_told_not_to_come_back(light_service):
    search_id = light_service.search(budget={"evaluations": 3})
    light_service.wait(search_id)
    [*_, last] = events(light_service, search_id, params={"last_event_id": 0})
    answer = light_service.client.get(
        f"/v1/searches/{search_id}/events", headers={"Last-Event-ID": str(last.id)}
    )
    assert answer.status_code == 204
    assert answer.content == b""


def test_without_an_id_the_stream_of_a_search_that_is_over_is_its_end(light_service):
    search_id = light_service.search(budget={"evaluations": 3})
    light_service.wait(search_id)
    progress, state = events(light_service, search_id)
    assert (progress.kind, progress.id) == ("progress", None)
    assert state.data["state"] == "completed"


def test_a_search_that_was_extended_has_ended_once_and_goes_on(service):
    search_id = service.search(budget={"evaluations": 10})
    service.wait(search_id)
    [*_, first_end] = events(service, search_id, params={"last_event_id": 0})
    service.client.post(f"/v1/searches/{search_id}/extend", json={"evaluations": 10})
    service.wait(search_id)
    whole = kept(events(service, search_id, params={"last_event_id": 0}))
    states = [e.data["state"] for e in whole if e.kind == "state"]
    assert states == ["running", "completed", "queued", "running", "completed"]
    more = kept(events(service, search_id, params={"last_event_id": first_end.id}))
    assert more == whole[first_end.id :]


def test_headers_say_that_nothing_between_may_hold_events_back(light_service):
    search_id = light_service.search(budget={"evaluations": 3})
    light_service.wait(search_id)
    answer = light_service.client.get(f"/v1/searches/{search_id}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.text.count("retry: ") == 1


def test_a_client_cut_off_before_the_first_event_knows_where_to_go_on(light_service):
    search_id = light_service.search(budget={"evaluations": 3})
    light_service.wait(search_id)
    url = f"/v1/searches/{search_id}/events"
    opening = light_service.client.get(url, params={"last_event_id": 1}).text.split("\n\n")[0]
    assert sorted(opening.splitlines()) == ["id: 1", "retry: 2000"]


def test_a_search_that_is_not_there_is_404(light_service):
    answer = light_service.client.get("/v1/searches/nose/events")
    assert answer.status_code == 404
    assert answer.json()["type"] == "/problems/not-found"


@pytest.mark.parametrize("given", ["-1", "1.5", "abc", "", "999999", "1_0", "٣", "9" * 30])
@pytest.mark.parametrize("where", ["headers", "params"])
def test_an_id_that_is_none_is_refused_by_name_value_and_remedy(light_service, given, where):
    if where == "headers" and not given.isascii():
        pytest.skip("a header is ASCII")
    search_id = light_service.search(budget={"evaluations": 3})
    name = {"headers": "Last-Event-ID", "params": "last_event_id"}[where]
    answer = light_service.client.get(f"/v1/searches/{search_id}/events", **{where: {name: given}})
    assert answer.status_code == 422, answer.text
    document = answer.json()
    assert document["type"] == "/problems/invalid-input"
    assert document["errors"][0]["pointer"] == f"/{name}"
    assert document["errors"][0]["value"] == given
    assert "0 for the whole history" in document["detail"]


def test_a_deleted_search_ends_its_streams(light_service):
    light_service.worker.open.clear()
    search_id = light_service.search()
    with followed(light_service, search_id) as found:
        light_service.client.post(f"/v1/searches/{search_id}/cancel")
        light_service.client.delete(f"/v1/searches/{search_id}")
    assert found[0].kind == "progress"


def test_many_streams_cost_one_query_a_tick_and_none_when_nobody_listens(light_service):
    """Twenty streams of two searches: what is read does not grow with their number."""
    bodies = [light_service.body(budget={"evaluations": 40}) for _ in range(2)]
    slow = threading.Event()
    light_service.worker.metrics = lambda subnet: (
        slow.wait(0.05),
        {"accuracy": accuracy_of(subnet)},
    )[1]
    light_service.worker.open.clear()
    searches = [light_service.client.post("/v1/searches", json=b).json()["id"] for b in bodies]
    for each in searches:
        light_service.until(
            lambda e=each: light_service.get(f"/v1/searches/{e}")["state"] == "running"
        )
    service = light_service.client.app.state.service
    asked: list[str] = []

    def listen(_connection, _cursor, statement, *_):
        if "search_events.number >" in statement or "JSON_EXTRACT" in statement:
            asked.append(statement)

    found: list[list[Event]] = [[] for _ in range(20)]
    readers = [
        threading.Thread(target=lambda i=i: found[i].extend(events(light_service, searches[i % 2])))
        for i in range(20)
    ]
    for reader in readers:
        reader.start()
    light_service.until(lambda: sum(len(t.watches) for t in service.watcher._topics.values()) == 20)
    ticks: list[int] = []
    tick = service.watcher._tick

    async def counted() -> None:
        ticks.append(1)
        await tick()

    service.watcher._tick = counted
    sqlalchemy.event.listen(service.database.engine, "before_cursor_execute", listen)
    light_service.worker.open.set()
    for reader in readers:
        reader.join(timeout=20)
    sqlalchemy.event.remove(service.database.engine, "before_cursor_execute", listen)
    # One of each may still be catching up when counting begins; beyond that, two a tick for all.
    assert len(ticks) > 5
    assert len(asked) <= 2 * len(ticks) + 20 < 20 * len(ticks)
    for i in range(20):
        assert found[i][-1].data["state"] == "completed"
        assert kept(found[i]) == kept(found[i % 2])
    light_service.until(lambda: service.watcher.is_idle)


def test_progress_comes_at_most_twice_a_second(light_service):
    slow = threading.Event()
    light_service.worker.metrics = lambda subnet: (
        slow.wait(0.05),
        {"accuracy": accuracy_of(subnet)},
    )[1]
    search_id = light_service.search(budget={"evaluations": 60})
    with followed(light_service, search_id) as found:
        pass
    search = light_service.get(f"/v1/searches/{search_id}")
    told = [e for e in found if e.kind == "progress"]
    assert 2 <= len(told) <= 3 + 2 * search["progress"]["elapsed_seconds"]


def test_a_silent_stream_is_kept_alive_by_comments(light_service, monkeypatch):
    monkeypatch.setattr(stream_module, "KEEP_ALIVE_SECONDS", 0.05)
    body = light_service.body()
    light_service.worker.open.clear()
    search_id = light_service.client.post("/v1/searches", json=body).json()["id"]
    threading.Timer(
        0.5, lambda: light_service.client.post(f"/v1/searches/{search_id}/cancel")
    ).start()
    text = light_service.client.get(f"/v1/searches/{search_id}/events").text
    assert text.count("\n: still here\n\n") >= 2
    assert list(parse(text.splitlines()))[-1].data["state"] == "cancelled"


def test_streams_outlive_a_database_that_is_away(light_service, monkeypatch):
    monkeypatch.setattr(watcher_module, "RETRY_SECONDS", 0.05)
    service = light_service.client.app.state.service
    real, left = service.watcher._read, [4]

    def read(seen):
        if left[0]:
            left[0] -= 1
            raise sqlalchemy.exc.OperationalError("select", None, Exception("away"))
        return real(seen)

    service.watcher._read = read
    search_id = light_service.search()
    with followed(light_service, search_id, params={"last_event_id": 0}) as found:
        pass
    assert left == [0]
    ids = [event.id for event in kept(found)]
    assert ids == list(range(1, len(ids) + 1))
    assert found[-1].data["state"] == "completed"


def test_a_slow_client_is_served_from_the_database(light_service, monkeypatch):
    """What waits for a client is bounded; what was dropped is read back."""
    monkeypatch.setattr(watch_module, "KEPT_EVENTS", 0)
    monkeypatch.setattr(watcher_module, "TICK_SECONDS", 0.01)
    offer = watch_module.Watch.offer

    def twice(watch, update):
        offer(watch, update)
        offer(watch, update)

    monkeypatch.setattr(watch_module.Watch, "offer", twice)
    body = light_service.body(budget={"evaluations": 60})
    light_service.worker.open.clear()
    search_id = light_service.client.post("/v1/searches", json=body).json()["id"]
    with followed(light_service, search_id, params={"last_event_id": 0}) as found:
        light_service.worker.open.set()
    ids = [event.id for event in kept(found)]
    assert ids == list(range(1, len(ids) + 1))
    assert found[-1].data["state"] == "completed"


def test_a_stream_tells_every_result_once_in_batches_that_follow_the_points(service):
    """What a client has read as points and what it is told are the whole, without a gap."""
    body = service.body(budget={"evaluations": 40})
    service.worker.open.clear()
    search_id = service.client.post("/v1/searches", json=body).json()["id"]
    service.until(lambda: service.get(f"/v1/searches/{search_id}")["state"] == "running")
    with followed(service, search_id) as found:
        topic = service.client.app.state.service.watcher._topics[search_id]
        service.until(lambda: topic.seen is not None)
        service.worker.open.set()
    batches = [e.data for e in found if e.kind == "evaluation"]
    assert [b["since"] for b in batches] == [0, *(b["after"] for b in batches[:-1])]
    points = service.get(f"/v1/searches/{search_id}/points")
    told = {name: [v for b in batches for v in b["columns"][name]] for name in points["columns"]}
    assert told == points["columns"]
    assert batches[-1]["after"] == points["after"] == found[-2].data.get("recorded", 40)
    assert {"origin", "cached", "hypervolume", "params", "f1"} <= set(batches[0]["columns"])
    assert all(e.id is None for e in found if e.kind == "evaluation")


def test_results_come_at_most_five_times_a_second(light_service):
    slow = threading.Event()
    light_service.worker.metrics = lambda subnet: (
        slow.wait(0.03),
        {"accuracy": accuracy_of(subnet)},
    )[1]
    search_id = light_service.search(budget={"evaluations": 60})
    with followed(light_service, search_id) as found:
        pass
    search = light_service.get(f"/v1/searches/{search_id}")
    told = [e for e in found if e.kind == "evaluation"]
    assert 1 <= len(told) <= 2 + 5 * search["progress"]["elapsed_seconds"]


def test_results_are_not_replayed(light_service):
    search_id = light_service.search(budget={"evaluations": 5})
    light_service.wait(search_id)
    whole = events(light_service, search_id, params={"last_event_id": 0})
    assert {e.kind for e in whole} == {"progress", "front", "state"}
    assert whole[0].data["recorded"] == 5


def test_more_results_than_an_event_carries_come_with_the_next(light_service, monkeypatch):
    monkeypatch.setattr(feed_module, "RESULTS_AT_ONCE", 4)
    search_id = light_service.search(budget={"evaluations": 10})
    light_service.wait(search_id)
    service = light_service.client.app.state.service
    after, counts = 0, []
    with service.database.read() as session:
        while found := service.watcher.feed.results(session, {search_id: after}):
            event = found[search_id].event
            counts.append((event.count, event.more))
            after = found[search_id].after
    assert counts == [(4, True), (4, True), (2, False)]
