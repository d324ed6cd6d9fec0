"""Filters, orders and text search of lists, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from elasticnas.service.datasets.tables import DatasetRow
from elasticnas.service.searches.tables import SearchRow
from tests.service.running import Running

NAMES = ("beta", "Alpha", "gamma", "ÄLPHA", "50% off_peak", "beta")


def everything(running: Running, path: str, **query: Any) -> list[dict[str, Any]]:
    """All items, through pages of two."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = running.get(path, limit=2, **query, **({"cursor": cursor} if cursor else {}))
        items += page["items"]
        if (cursor := page["next_cursor"]) is None:
            return items


def rows_of(running: Running, **query: Any) -> list[str]:
    return [each["id"] for each in everything(running, "/v1/datasets", **query)]


@pytest.fixture
def named(service: Running) -> Running:
    """Six datasets, an hour apart but for two of the same moment; d0 is the oldest."""
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    with service.client.app.state.service.database.write() as session:
        for i, name in enumerate(NAMES):
            row = DatasetRow(
                id=f"d{i}",
                owner="default",
                name=name,
                notes="Read the PAPER" if i == 2 else None,
                tags=["vision", "old"] if i < 2 else ["old vision"],
                task="text-classification" if i % 2 else "text-regression",
                metric="accuracy",
                rows=2,
                text_columns=["a"],
                label_column="b",
                num_labels=2,
                digest="d",
                size_bytes=1,
                created_at=moment + timedelta(hours=min(i, 4)),
            )
            session.add(row)
    return service


def test_lists_come_in_the_order_asked_for_through_all_pages(named: Running):
    assert rows_of(named) == ["d5", "d4", "d3", "d2", "d1", "d0"]
    assert rows_of(named, sort="created_at") == ["d0", "d1", "d2", "d3", "d4", "d5"]
    by_name = rows_of(named, sort="name")
    plain = [each for each in by_name if each not in ("d3", "d4")]
    assert plain == ["d1", "d0", "d5", "d2"]
    assert sorted(by_name) == [f"d{i}" for i in range(6)]
    assert rows_of(named, sort="-name") == by_name[::-1]


def test_text_is_found_in_names_ids_notes_and_tags_in_any_case(named: Running):
    assert rows_of(named, q="ALPHA") == ["d1"]
    assert rows_of(named, q="älPHA") == ["d3"]
    assert rows_of(named, q="d4") == ["d4"]
    assert rows_of(named, q="paper") == ["d2"]
    assert rows_of(named, q="Old V") == ["d5", "d4", "d3", "d2"]
    assert rows_of(named, q="nowhere") == []


def test_signs_of_patterns_are_letters(named: Running):
    assert rows_of(named, q="50% off_") == ["d4"]
    assert rows_of(named, q="5%f") == []
    assert rows_of(named, q="off-peak") == []


def test_a_tag_is_found_whole(named: Running):
    assert rows_of(named, tag="vision") == ["d1", "d0"]
    assert rows_of(named, tag="old vision") == ["d5", "d4", "d3", "d2"]
    assert rows_of(named, tag="visio") == []
    assert rows_of(named, tag="vision", task="text-regression") == ["d0"]


def test_a_cursor_is_of_one_order(named: Running):
    cursor = named.get("/v1/datasets", limit=2, sort="name")["next_cursor"]
    for query in ({}, {"sort": "-name"}):
        answer = named.client.get("/v1/datasets", params={"cursor": cursor, **query})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/cursor"


def test_a_page_may_end_at_the_longest_name(light_service: Running):
    for _ in range(2):
        light_service.dataset(name="\N{GRINNING FACE}" * 200)
    assert len(everything(light_service, "/v1/datasets", sort="name")) == 2
    cursor = light_service.get("/v1/datasets", limit=1, sort="name")["next_cursor"]
    assert light_service.get("/v1/datasets", limit=1, sort="name", cursor=cursor)["items"]


def test_searches_are_found_by_state_and_by_what_they_refer_to(service: Running):
    ids = {"supernet_id": service.supernet(), "dataset_id": service.dataset()}
    over = service.search(**ids, budget={"evaluations": 3})
    service.wait(over)
    service.worker.open.clear()
    running = service.search(**ids, budget={"evaluations": 100}, seed=1)
    cancelled = service.search(supernet_id=ids["supernet_id"], budget={"evaluations": 100})
    service.client.post(f"/v1/searches/{cancelled}/cancel")
    service.until(lambda: service.get(f"/v1/searches/{running}")["state"] == "running")

    def found(**query: Any) -> list[str]:
        return [each["id"] for each in everything(service, "/v1/searches", **query)]

    assert found(state="running") == [running]
    assert found(state=["running", "completed"]) == [running, over]
    assert found(dataset_id=ids["dataset_id"]) == [running, over]
    assert found(supernet_id=ids["supernet_id"]) == [cancelled, running, over]
    assert found(supernet_id="nose") == []
    service.worker.open.set()


def test_searches_are_sorted_by_hypervolume(light_service: Running):
    ids = [light_service.search(budget={"evaluations": 3}) for _ in range(3)]
    for each in ids:
        light_service.wait(each)
    with light_service.client.app.state.service.database.write() as session:
        for each, hypervolume in zip(ids, (0.1 + 0.2, 0.9, 0.3), strict=True):
            session.get_one(SearchRow, each).hypervolume = hypervolume
    sorted_ids = [e["id"] for e in everything(light_service, "/v1/searches", sort="-hypervolume")]
    assert sorted_ids == [ids[1], ids[0], ids[2]]
    rising = [e["id"] for e in everything(light_service, "/v1/searches", sort="hypervolume")]
    assert rising == sorted_ids[::-1]


def test_jobs_and_registrations_are_one_list(light_service: Running):
    supernets = [light_service.supernet() for _ in range(3)]
    assert [j["id"] for j in everything(light_service, "/v1/jobs")] == supernets[::-1]
    rising = everything(light_service, "/v1/jobs", sort="created_at")
    assert [j["id"] for j in rising] == supernets
    assert everything(light_service, "/v1/jobs", state=["queued", "failed"]) == []
    assert len(everything(light_service, "/v1/jobs", state=["failed", "completed"])) == 3
    assert len(everything(light_service, "/v1/jobs", q=supernets[1])) == 1
    assert everything(light_service, "/v1/jobs", dataset_id="nose") == []


def test_supernets_are_found_by_method(service: Running):
    supernet = service.supernet()
    assert [s["id"] for s in service.get("/v1/supernets", method="lonas")["items"]] == [supernet]
    assert service.get("/v1/supernets", method="shears")["items"] == []
    assert len(service.get("/v1/supernets", state=["ready", "failed"])["items"]) == 1
    assert service.get("/v1/supernets", state="reading")["items"] == []


def test_evaluations_within_bounds_in_any_order_through_all_pages(service: Running):
    search = service.search(budget={"evaluations": 20})
    service.wait(search)
    path = f"/v1/searches/{search}/evaluations"
    whole = everything(service, path)
    assert [e["number"] for e in whole] == list(range(20))
    for name, value in (("accuracy", "metrics"), ("gflops", "cost")):
        rising = [e[value][name] for e in everything(service, path, sort=name)]
        assert rising == sorted(e[value][name] for e in whole)
        falling = [e[value][name] for e in everything(service, path, sort=f"-{name}")]
        assert falling == rising[::-1]
    middle = sorted(e["cost"]["gflops"] for e in whole)[10]
    cheap = everything(service, path, max_gflops=middle, min_accuracy=0.6, sort="-accuracy")
    expected = [
        e for e in whole if e["cost"]["gflops"] <= middle and e["metrics"]["accuracy"] >= 0.6
    ]
    assert {e["number"] for e in cheap} == {e["number"] for e in expected}
    assert 0 < len(cheap) < 20
    front = everything(service, path, on_front=True)
    assert all(e["on_front"] for e in front)
    assert len(front) == sum(e["on_front"] for e in whole) > 0
    newest = everything(service, path, sort="-number", state=["completed", "failed"])
    assert [e["number"] for e in newest] == list(range(19, -1, -1))


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"sort": "nose"}, "/sort"),
        ({"sort": "pearson"}, "/sort"),
        ({"max_nose": 1}, "/max_nose"),
        ({"max_gflops": "nan"}, "/max_gflops"),
        ({"cursor": "W10"}, "/cursor"),
    ],
)
def test_a_list_that_cannot_be_is_refused_by_the_parameter(light_service: Running, query, pointer):
    search = light_service.search(budget={"evaluations": 3})
    answer = light_service.client.get(f"/v1/searches/{search}/evaluations", params=query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_sparklines_are_the_growth_of_the_hypervolume(service: Running, monkeypatch):
    monkeypatch.setattr("elasticnas.service.searches.views.SPARKS", 4)
    search = service.search(budget={"evaluations": 20})
    service.wait(search)
    assert service.get("/v1/searches")["items"][0]["sparkline"] is None
    [item] = service.get("/v1/searches", sparkline=True)["items"]
    points = service.get(f"/v1/searches/{search}/points", fields="sequence,hypervolume")["columns"]
    whole = dict(zip(points["sequence"], points["hypervolume"], strict=True))
    assert 1 < len(item["sparkline"]) <= 4
    assert all(whole[sequence] == hypervolume for sequence, hypervolume in item["sparkline"])
    assert item["sparkline"] == sorted(item["sparkline"])
    assert item["sparkline"][-1][1] == item["hypervolume"]
