"""Searches that race, through REST, on made-up rows."""

from __future__ import annotations

from typing import Any

import pytest

from elasticnas.search.races.course import LAPS, PILOTS
from tests.search.crowd import ROWS
from tests.service.running import Running
from tests.service.searches.driving import move, read, slowly, undisturbed

RACING = {"confidence": 0.9}
BUDGET = {"evaluations": 40}


def evaluations(running: Running, search_id: str, **query: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = running.get(
        f"/v1/searches/{search_id}/evaluations", limit=100, **query
    )["items"]
    return found


def results(running: Running, search_id: str) -> list[tuple[Any, ...]]:
    """What became of each evaluation, but for times and workers."""
    return [
        (each["number"], each["subnet"], each["metrics"], each["given_up"], each["on_front"])
        for each in evaluations(running, search_id)
    ]


def test_what_is_given_up_says_where_and_is_on_no_front(service: Running):
    search_id = service.search(racing=RACING, budget=BUDGET)
    search = service.wait(search_id)
    assert search["racing"] == RACING
    progress = search["progress"]
    given_up = evaluations(service, search_id, state="given_up")
    assert progress["completed"] + progress["given_up"] == 40
    assert progress["given_up"] == len(given_up) > 3
    everything = {each["number"]: each for each in evaluations(service, search_id)}
    for each in given_up:
        end = each["given_up"]
        assert each["metrics"] is None
        assert each["on_front"] is False
        assert 0 < end["rows"] < ROWS
        assert end["chance"] <= 0.1
        rival = everything[end["rival"]]
        assert rival["state"] == "completed"
        assert rival["metrics"]["accuracy"] == end["bound"]
        assert rival["cost"]["gflops"] <= each["cost"]["gflops"]
    front = service.get(f"/v1/searches/{search_id}/front")["items"]
    assert front
    assert all(point["metrics"] and point["given_up"] is None for point in front)
    assert sum(each["given_up"] is None for each in everything.values()) >= PILOTS
    answer = service.client.get(f"/v1/searches/{search_id}/subnets/{given_up[0]['number']}/weights")
    assert answer.status_code == 409
    assert "given_up" in answer.json()["detail"]


def test_the_same_search_races_the_same(light_service: Running):
    first = light_service.search(racing=RACING, budget=BUDGET)
    light_service.wait(first)
    again = undisturbed(light_service, first, racing=RACING, budget=BUDGET)
    assert results(light_service, again) == results(light_service, first)


def test_a_paused_race_goes_on_as_if_nothing_had_happened(light_service: Running):
    slowly(light_service, 0.03)
    search_id = light_service.search(racing=RACING, budget=BUDGET)
    light_service.until(
        lambda: (
            read(light_service, search_id)["progress"]["given_up"] >= 2
            or read(light_service, search_id)["state"] == "completed"
        )
    )
    move(light_service, search_id, "pause")
    move(light_service, search_id, "resume")
    light_service.wait(search_id)
    again = undisturbed(light_service, search_id, racing=RACING, budget=BUDGET)
    assert results(light_service, again) == results(light_service, search_id)


def test_the_database_answers_races_only_with_what_was_run_to_the_end(light_service: Running):
    supernet, dataset = light_service.supernet(), light_service.dataset()
    same = {"supernet_id": supernet, "dataset_id": dataset, "budget": BUDGET}
    # Of a search that did not race it is not known which rows were right.
    plain = light_service.wait(light_service.search(**same))
    assert plain["progress"]["cached"] == 0
    first = light_service.wait(light_service.search(racing=RACING, **same))
    assert first["progress"]["cached"] == 0
    second = light_service.wait(light_service.search(racing=RACING, **same))
    # Those given up are run again; what is on the front does not depend on what was known before.
    assert second["progress"]["cached"] == first["progress"]["completed"]
    other = light_service.wait(light_service.search(racing=RACING, seed=1, **same))
    assert other["progress"]["cached"] > 0
    alone = undisturbed(light_service, other["id"], racing=RACING, seed=1, budget=BUDGET)
    assert results(light_service, alone) == results(light_service, other["id"])
    assert second["progress"]["given_up"] == first["progress"]["given_up"] > 0
    assert second["hypervolume"] == first["hypervolume"]


@pytest.mark.parametrize("objectives", [["f1", "gflops"], ["accuracy", "f1", "gflops"]])
def test_other_metrics_than_accuracy_do_not_race(light_service: Running, objectives: list[str]):
    answer = light_service.client.post(
        "/v1/searches", json=light_service.body(racing=RACING, objectives=objectives)
    )
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"] == "/racing"
    assert "accuracy" in error["detail"]


@pytest.mark.parametrize("confidence", [0.2, 1.0, "sure"])
def test_a_confidence_is_a_probability_above_one_half(light_service: Running, confidence: Any):
    answer = light_service.client.post(
        "/v1/searches", json=light_service.body(racing={"confidence": confidence})
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].endswith("racing/confidence")


def test_rows_are_spared(light_service: Running):
    search_id = light_service.search(racing=RACING, budget=BUDGET)
    light_service.wait(search_id)
    run = [
        ROWS if each["given_up"] is None else each["given_up"]["rows"]
        for each in evaluations(light_service, search_id)
    ]
    assert min(run) <= 2 * ROWS / LAPS
    assert sum(run) < 0.85 * 40 * ROWS
