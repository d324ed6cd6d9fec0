"""Searches whose trainings race each other, over REST and on both databases."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from elasticnas.api_schemas.halving import Halving
from tests.service.running import Running, running_service
from tests.service.searches.driving import move

HALVING = Halving(eta=2, rungs=3)
STEPS = 40


def asked(service: Running, **fields: Any) -> dict[str, Any]:
    """The body of a search of three trainings in full and seven brackets of four."""
    fine_tune = {
        "dataset_id": service.dataset(rows=10),
        "steps": STEPS,
        "halving": HALVING.model_dump(),
    }
    return {
        "evaluation": {"fine_tune": fine_tune},
        "budget": {"evaluations": 31},
        "strategy": {"name": "random"},
        **fields,
    }


def slowly(service: Running) -> None:
    measure = service.worker.metrics
    service.worker.metrics = lambda subnet: time.sleep(0.02) or measure(subnet)


def items(service: Running, search_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = service.get(f"/v1/searches/{search_id}/evaluations", limit=100)[
        "items"
    ]
    return found


def essence(service: Running, search_id: str) -> list[tuple[Any, ...]]:
    return [
        (each["number"], each["subnet"], each["state"], each["metrics"], each["rungs"])
        for each in items(service, search_id)
    ]


def test_the_best_of_a_bracket_are_trained_on_and_the_others_given_up(service: Running):
    search_id = service.search(**asked(service))
    search = service.wait(search_id)
    assert search["parallel_evaluations"] == 8
    assert search["progress"]["completed"] == 3 + 7
    assert search["progress"]["given_up"] == 21
    found = items(service, search_id)
    climbed = {
        number: [rung for _, other, rung in service.worker.rungs if other == number]
        for number in range(31)
    }
    for each in found:
        rungs, number = each["rungs"] or [], each["number"]
        if each["origin"] != "strategy":
            assert (each["state"], rungs, climbed[number]) == ("completed", [], [])
            continue
        assert [rung["steps"] for rung in rungs] == [10, 20][: len(rungs)]
        assert each["attempt"] == len(climbed[number])
        assert [rung.number for rung in climbed[number]] == list(range(len(climbed[number])))
        assert [rung.state is None for rung in climbed[number]] == [True, False, False][
            : len(climbed[number])
        ]
        if each["state"] == "completed":
            assert len(rungs) == 2
            assert [rung.until for rung in climbed[number]] == [10, 20, None]
        else:
            assert each["state"] == "given_up"
            assert each["metrics"] is None
            assert not each["on_front"]
            assert len(climbed[number]) == len(rungs)
    stopped_at = Counter(len(each["rungs"]) for each in found if each["state"] == "given_up")
    assert stopped_at == {1: 14, 2: 7}
    for plot in ("front", "history"):
        answer = service.client.get(f"/v1/searches/{search_id}/plots/{plot}")
        assert answer.status_code == 200, answer.text


def test_a_search_that_is_killed_goes_on_from_the_rungs_it_had_reached(tmp_path):
    url = f"sqlite:///{tmp_path / 'killed.sqlite'}"
    with running_service(url, tmp_path) as service:
        ids = {"supernet_id": service.supernet(), "dataset_id": service.dataset()}
        body = asked(service)
        undisturbed = service.search(**ids, **body)
        service.wait(undisturbed)
    with running_service(url, tmp_path) as service:
        slowly(service)
        search_id = service.search(**{**ids, "dataset_id": service.dataset(rows=6)}, **body)
        service.until(lambda: len(service.worker.rungs) >= 14)
    with running_service(url, tmp_path) as service:
        before = [each["rungs"] for each in items(service, search_id)]
        assert any(before)
        service.wait(search_id)
        assert essence(service, search_id) == essence(service, undisturbed)


def test_a_result_that_comes_twice_counts_once(service: Running):
    """A worker's message is delivered at least once, also when its subnet has climbed on."""
    send = service.worker.send

    def twice(result: Any) -> None:
        send(result)
        if hasattr(result, "outcomes"):
            time.sleep(0.03)
            send(result)

    service.worker.send = twice  # type: ignore[method-assign]
    search_id = service.search(**asked(service, budget={"evaluations": 15}))
    search = service.wait(search_id)
    assert search["progress"]["completed"] + search["progress"]["given_up"] == 15
    for each in items(service, search_id):
        assert len(each["rungs"] or []) <= 2


def test_one_that_fails_makes_way_and_climbs_when_it_is_retried(light_service):
    measure, broken = light_service.worker.metrics, [True]

    def metrics(subnet: dict[str, int]) -> dict[str, float]:
        if broken[0] and sum(subnet.values()) % 7 == 0:
            raise RuntimeError("a bad day")
        return measure(subnet)

    light_service.worker.metrics = metrics
    search_id = light_service.search(**asked(light_service), max_failures=None)
    search = light_service.wait(search_id)
    failed = search["progress"]["failed"]
    assert failed > 0
    broken[0] = False
    move(light_service, search_id, "retry")
    search = light_service.wait(search_id)
    assert search["progress"]["failed"] == 0
    assert search["progress"]["completed"] + search["progress"]["given_up"] == 31


def test_a_search_that_is_cancelled_and_extended_fills_its_brackets(light_service):
    slowly(light_service)
    search_id = light_service.search(**asked(light_service))
    light_service.until(lambda: len(light_service.worker.rungs) >= 11)
    move(light_service, search_id, "cancel")
    move(light_service, search_id, "extend", evaluations=4)
    search = light_service.wait(search_id)
    assert search["progress"]["completed"] + search["progress"]["given_up"] == 35


def test_what_cannot_be_raced_is_refused_by_name(light_service):
    body = {**light_service.body(), **asked(light_service), "parallel_evaluations": 3}
    answer = light_service.client.post("/v1/searches", json=body)
    assert answer.status_code == 422
    assert "a bracket of 4 subnets" in answer.text
