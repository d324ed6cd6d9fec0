"""The front over REST: formats, filters, cheap polling."""

from __future__ import annotations

import csv
import io

import pytest


@pytest.fixture
def finished(service):
    search = service.wait(service.search(budget={"evaluations": 30}))
    return service, f"/v1/searches/{search['id']}/front"


def test_csv_holds_the_same_points_as_json(finished):
    service, url = finished
    items = service.get(url)["items"]
    answer = service.client.get(url, params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [int(row["number"]) for row in rows] == [item["number"] for item in items]
    assert float(rows[0]["accuracy"]) == items[0]["metrics"]["accuracy"]
    assert float(rows[0]["gflops"]) == items[0]["cost"]["gflops"]
    assert int(rows[0]["layer.0.heads"]) == items[0]["subnet"]["layer.0.heads"]
    assert service.client.get(url, headers={"Accept": "text/csv"}).text == answer.text


def test_filters_leave_what_is_within_the_bounds(finished):
    service, url = finished
    items = service.get(url)["items"]
    gflops = items[len(items) // 2]["cost"]["gflops"]
    accuracy = items[1]["metrics"]["accuracy"]
    kept = service.get(url, max_gflops=gflops, min_accuracy=accuracy)["items"]
    assert kept == [
        item
        for item in items
        if item["cost"]["gflops"] <= gflops and item["metrics"]["accuracy"] >= accuracy
    ]
    assert 0 < len(kept) < len(items)


def test_the_best_within_the_bounds_is_named(finished):
    service, url = finished
    whole = service.get(url)
    items = whole["items"]
    assert whole["best"] == items[-1]["number"]
    middle = items[len(items) // 2]
    within = service.get(url, max_gflops=middle["cost"]["gflops"])
    assert within["best"] == middle["number"]
    nothing = service.get(url, max_params=1)
    assert (nothing["items"], nothing["best"], nothing["knee"]) == ([], None, None)


def test_of_equally_good_points_the_cheaper_is_the_best(light_service):
    light_service.worker.metrics = lambda subnet: {
        "accuracy": 0.5,
        "f1": subnet["layer.0.heads"] / 100,
    }
    search_id = light_service.search(objectives=["accuracy", "f1", "gflops"])
    light_service.wait(search_id)
    front = light_service.get(f"/v1/searches/{search_id}/front")
    assert len(front["items"]) > 1
    assert front["best"] == front["items"][0]["number"]


def test_the_knee_of_what_is_shown_is_named(finished):
    service, url = finished
    whole = service.get(url)
    x = [item["cost"]["gflops"] for item in whole["items"]]
    y = [item["metrics"]["accuracy"] for item in whole["items"]]
    above = [
        (b - y[0]) / (y[-1] - y[0]) - (a - x[0]) / (x[-1] - x[0]) for a, b in zip(x, y, strict=True)
    ]
    assert whole["knee"] == whole["items"][above.index(max(above))]["number"]
    two = service.get(url, max_gflops=x[1])
    assert two["knee"] == two["items"][0]["number"]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"max_joules": 1}, "/max_joules"),
        ({"min_pearson": 0.5}, "/min_pearson"),
        ({"max_gflops": "few"}, "/max_gflops"),
        ({"format": "xml"}, "/format"),
    ],
)
def test_a_filter_that_does_not_exist_is_named(finished, query, pointer):
    service, url = finished
    answer = service.client.get(url, params=query)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_polling_an_unchanged_front_is_answered_304(finished):
    service, url = finished
    answer = service.client.get(url)
    etag = answer.headers["etag"]
    assert not etag.startswith("W/")
    again = service.client.get(url, headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == etag
    other = {"If-None-Match": '"something-else"'}
    assert service.client.get(url, headers=other).status_code == 200


def test_each_format_and_filter_has_an_etag_of_its_own(finished):
    service, url = finished
    etags = {
        service.client.get(url, params=query).headers["etag"]
        for query in ({}, {"format": "csv"}, {"max_gflops": 1}, {"max_gflops": 0.1})
    }
    assert len(etags) == 4


def test_the_etag_changes_with_the_front(service):
    service.worker.open.clear()
    search_id = service.search()
    url = f"/v1/searches/{search_id}/front"
    before = service.client.get(url)
    assert before.json()["items"] == []
    service.worker.open.set()
    service.wait(search_id)
    after = service.client.get(url, headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert after.json()["items"] != []


def test_an_unknown_search_has_no_front(light_service):
    assert light_service.client.get("/v1/searches/nope/front").status_code == 404
