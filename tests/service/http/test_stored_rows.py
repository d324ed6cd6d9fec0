"""What an earlier version stored, and this one refuses, does not keep a list from being shown."""

from __future__ import annotations

import json
import threading

import pytest
from sqlalchemy import event, text

from elasticnas.service.database import Database


def write(url: str, statement: str, **values: object) -> None:
    database = Database(url)
    with database.write() as session:
        session.execute(text(statement), values)
    database.close()


@pytest.mark.parametrize(("seconds", "shown"), [(1e12, 1e9), (1e9, 1e9), (5e8, 5e8)])
def test_more_seconds_than_a_budget_may_have_are_as_many_as_it_may(service, seconds, shown):
    url = service.settings.resolved_database_url
    ids = {"supernet_id": service.supernet(), "dataset_id": service.dataset()}
    service.worker.open.clear()
    search_id = service.search(**ids, budget={"evaluations": 24, "seconds": 60})
    service.until(lambda: service.worker.batches)
    budget = {"evaluations": 24, "seconds": seconds}
    stored = json.dumps(_request(url, search_id) | {"budget": budget})
    # As at a start of this version: the search is restored from the row, and goes on.
    write(url, "UPDATE searches SET request = :request, revision = revision + 1", request=stored)
    (listed,) = service.get("/v1/searches")["items"]
    assert listed["budget"] == {"evaluations": 24, "seconds": shown}
    service.worker.open.set()
    service.wait(search_id)
    events = service.client.get(f"/v1/searches/{search_id}/events")
    assert "completed" in events.text
    extended = service.client.post(f"/v1/searches/{search_id}/extend", json={"evaluations": 2})
    assert extended.status_code == 200, extended.text
    assert service.wait(search_id)["progress"]["completed"] == 26


@pytest.mark.parametrize("bound", ["null", "Infinity"])
def test_an_infinite_bound_is_none(service, bound):
    url = service.settings.resolved_database_url
    if bound == "Infinity" and url.startswith("postgresql"):
        pytest.skip("PostgreSQL never took it")
    search_id = service.search()
    service.wait(search_id)
    stored = json.dumps(_request(url, search_id) | {"constraints": ["X"], "budget": "Y"})
    stored = stored.replace('"X"', '{"cost": "gflops", "max": BOUND}')
    stored = stored.replace('"Y"', '{"evaluations": 24, "seconds": BOUND}').replace("BOUND", bound)
    write(url, "UPDATE searches SET request = :request", request=stored)
    (listed,) = service.get("/v1/searches")["items"]
    assert listed["constraints"] == []
    assert listed["budget"] == {"evaluations": 24, "seconds": None}
    assert service.get(f"/v1/searches/{search_id}") == listed
    assert service.get(f"/v1/searches/{search_id}/front")["items"]
    events = service.client.get(f"/v1/searches/{search_id}/events")
    assert "completed" in events.text
    extended = service.client.post(f"/v1/searches/{search_id}/extend", json={"evaluations": 2})
    assert extended.status_code == 200
    assert service.wait(search_id)["progress"]["completed"] == 26


def test_a_metric_that_is_no_number_is_none_among_all_points(light_service):
    search_id = light_service.search(budget={"evaluations": 6})
    light_service.wait(search_id)
    before = light_service.get(f"/v1/searches/{search_id}/points", fields="*")["columns"]
    write(
        light_service.settings.resolved_database_url,
        "UPDATE evaluations SET metrics = :metrics WHERE number = 2",
        metrics='{"accuracy": NaN, "f1": 0.5}',
    )
    fields = "number,accuracy,f1,gflops"
    after = light_service.get(f"/v1/searches/{search_id}/points", fields=fields)["columns"]
    at = after["number"].index(2)
    assert (after["accuracy"][at], after["f1"][at]) == (None, 0.5)
    for name in ("accuracy", "gflops"):
        others = [pair for pair in enumerate(after[name]) if pair[0] != at]
        assert others == [pair for pair in enumerate(before[name]) if pair[0] != at]


def test_half_an_emoji_is_replaced(service):
    dataset_id = service.dataset()
    write(
        service.settings.resolved_database_url,
        "UPDATE datasets SET label_names = :names",
        names=r'["up \ud83d", "down"]',
    )
    (listed,) = service.get("/v1/datasets")["items"]
    assert listed["label_names"] == ["up \N{REPLACEMENT CHARACTER}", "down"]
    assert service.get(f"/v1/datasets/{dataset_id}") == listed


def test_a_nul_in_a_name_is_shown(light_service):
    search_id = light_service.search(name="a")
    light_service.wait(search_id)
    url = light_service.settings.resolved_database_url
    stored = json.dumps(_request(url, search_id) | {"name": "a\0b"})
    write(url, "UPDATE searches SET request = :request, name = :name", request=stored, name="a\0b")
    (listed,) = light_service.get("/v1/searches")["items"]
    assert listed["name"] == "a\0b"


def _request(url: str, search_id: str) -> dict[str, object]:
    database = Database(url)
    with database.read() as session:
        found = session.execute(
            text("SELECT request FROM searches WHERE id = :id"), {"id": search_id}
        ).scalar_one()
    database.close()
    return json.loads(found) if isinstance(found, str) else found


LISTS = ("searches", "supernets", "datasets", "workers")


def test_a_list_asks_as_many_statements_for_many_rows_as_for_one(service):
    service.worker.heartbeat()
    service.until(lambda: service.get("/v1/workers")["items"])
    service.wait(service.search(budget={"evaluations": 4}))
    few = {name: _statements(service, f"/v1/{name}") for name in LISTS}
    for search_id in [service.search(budget={"evaluations": 4}) for _ in range(4)]:
        service.wait(search_id)
    assert {name: _statements(service, f"/v1/{name}") for name in LISTS} == few
    assert max(few.values()) <= 5  # with BEGIN


def _statements(running, path: str) -> int:
    """How many statements a request asks of a server that knows no super-network yet."""
    running.client.app.state.service.reports.forget()
    engine = running.client.app.state.service.database.engine
    asked = []

    def count(_connection, _cursor, statement, *_rest):
        if threading.current_thread().name.startswith("AnyIO"):
            asked.append(statement)

    event.listen(engine, "before_cursor_execute", count)
    try:
        running.get(path)
    finally:
        event.remove(engine, "before_cursor_execute", count)
    return len(asked)
