"""Every result of a search as columns, and one evaluation by its number."""

from __future__ import annotations

import pytest

from tests.service.running import Running

FIELDS = "number,state,accuracy,gflops,choices,cached,sequence"


@pytest.fixture
def finished(service):
    search = service.wait(service.search(budget={"evaluations": 20}))
    return service, f"/v1/searches/{search['id']}"


def test_columns_hold_what_the_list_of_evaluations_holds(finished):
    service, url = finished
    read = service.get(f"{url}/points", fields=FIELDS)
    columns = read["columns"]
    assert list(columns) == FIELDS.split(",")
    assert {len(column) for column in columns.values()} == {read["count"]} == {20}
    assert columns["sequence"] == sorted(columns["sequence"])
    assert (read["after"], read["more"]) == (columns["sequence"][-1], False)
    dimensions = service.get(f"/v1/supernets/{service.get(url)['supernet_id']}/space")["dimensions"]
    shown = {each["number"]: each for each in service.get(f"{url}/evaluations")["items"]}
    points = list(zip(*columns.values(), strict=True))
    for number, state, accuracy, gflops, choices, cached, _ in points:
        listed = shown.pop(number)
        assert listed["state"] == state
        assert listed["metrics"]["accuracy"] == accuracy
        assert listed["cost"]["gflops"] == gflops
        assert listed["cached"] == cached
        chosen = [each["choices"][i] for each, i in zip(dimensions, choices, strict=True)]
        assert list(listed["subnet"].values()) == chosen
    assert not shown
    members = service.get(f"{url}/front")["items"]
    assert read["front"] == sorted(each["number"] for each in members)


def test_reading_on_gives_every_point_once(finished):
    service, url = finished
    after, more, numbers = 0, True, []
    while more:
        read = service.get(f"{url}/points", fields="number", after=after, limit=7)
        after, more = read["after"], read["more"]
        numbers += read["columns"]["number"]
    assert sorted(numbers) == list(range(20))
    nothing = service.get(f"{url}/points", after=after)
    assert (nothing["count"], nothing["after"], nothing["more"]) == (0, after, False)


def test_without_fields_the_objectives_come_with_number_and_state(finished):
    service, url = finished
    columns = service.get(f"{url}/points")["columns"]
    assert list(columns) == ["number", "state", "accuracy", "gflops"]


def test_a_star_is_every_metric_and_cost_as_an_event_of_results_has_them(finished):
    service, url = finished
    every = service.get(f"{url}/points", fields="*")["columns"]
    usual = ["number", "state", "origin", "cached", "hypervolume", "duration_seconds"]
    assert list(every)[: len(usual)] == usual
    costs = service.get(f"{url}/evaluations/0")["cost"]
    assert {"accuracy", "f1", *costs} <= set(every)
    assert every["params"] == service.get(f"{url}/points", fields="params")["columns"]["params"]
    nothing = service.get(f"{url}/points", fields="*", after=20)
    assert (nothing["count"], nothing["columns"]["accuracy"]) == (0, [])


def test_answers_that_are_kept_are_those_of_now(finished):
    service, url = finished
    first = service.client.get(f"{url}/points?fields=*")
    assert service.client.get(f"{url}/points?fields=*").content == first.content
    assert service.client.app.state.service.points.held_bytes > len(first.content)
    service.wait(service.client.post(f"{url}/extend", json={"evaluations": 2}).json()["id"])
    later = service.client.get(f"{url}/points?fields=*")
    assert later.json()["count"] == 22
    assert later.headers["etag"] != first.headers["etag"]


def test_polling_what_has_not_changed_costs_a_304(finished):
    service, url = finished
    etag = service.client.get(f"{url}/points").headers["etag"]
    unchanged = {"If-None-Match": etag}
    assert service.client.get(f"{url}/points", headers=unchanged).status_code == 304
    others = service.client.get(f"{url}/points?fields=number", headers=unchanged)
    assert others.status_code == 200
    service.wait(service.client.post(f"{url}/extend", json={"evaluations": 3}).json()["id"])
    assert service.client.get(f"{url}/points", headers=unchanged).json()["count"] == 23


@pytest.mark.parametrize("query", ["fields=speed", "fields=", "after=-1", "limit=0"])
def test_what_cannot_be_answered_is_refused_by_its_name(finished, query):
    service, url = finished
    answer = service.client.get(f"{url}/points?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].strip("/").endswith(query.split("=")[0])


def broken(_subnet: dict[str, int]) -> dict[str, float]:
    raise RuntimeError("out of memory")


def test_a_failed_evaluation_has_no_metrics_and_comes_again_once_it_was_retried(
    light_service: Running,
) -> None:
    measure = light_service.worker.metrics
    light_service.worker.metrics = broken
    search_id = light_service.search(budget={"evaluations": 4})
    light_service.wait(search_id, "failed")
    url = f"/v1/searches/{search_id}"
    failed = light_service.get(f"{url}/points")
    assert set(failed["columns"]["accuracy"]) == {None}
    assert None not in failed["columns"]["gflops"]
    light_service.worker.metrics = measure
    light_service.client.post(f"{url}/retry")
    light_service.wait(search_id)
    later = light_service.get(f"{url}/points", after=failed["after"])
    assert set(failed["columns"]["number"]) <= set(later["columns"]["number"])
    assert None not in later["columns"]["accuracy"]


def test_one_evaluation_is_read_by_its_number(finished):
    service, url = finished
    listed = service.get(f"{url}/evaluations")["items"]
    assert service.get(f"{url}/evaluations/7") == listed[7]
    missing = service.client.get(f"{url}/evaluations/20")
    assert (missing.status_code, missing.json()["type"]) == (404, "/problems/not-found")
