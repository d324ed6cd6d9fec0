"""Searches whose subnets are trained before they are measured: what is asked of workers."""

from __future__ import annotations

import time

from elasticnas.search.cost import cost_report
from elasticnas.search.space import SearchSpace
from tests.service.running import Running, running_service
from tests.service.stand_in import synthetic_report


def asked(service: Running, **fields: object) -> dict[str, object]:
    """The body of a search with a training on other rows."""
    fine_tune = {"dataset_id": service.dataset(rows=10), "steps": 7, **fields}
    return {"evaluation": {"fine_tune": fine_tune}}


def test_workers_are_told_what_to_train_on_and_answers_are_those_of_like_trainings(light_service):
    ids = {"supernet_id": light_service.supernet(), "dataset_id": light_service.dataset()}
    plain = light_service.wait(light_service.search(**ids))
    trained = asked(light_service)
    search_id = light_service.search(**ids, **trained)
    search = light_service.wait(search_id)
    assert search["progress"]["cached"] == 0
    fine_tune = search["evaluation"]["fine_tune"]
    rows = light_service.get(f"/v1/datasets/{fine_tune['dataset_id']}")["digest"]
    told = [each for each in light_service.worker.fine_tunings if each is not None]
    assert len(light_service.worker.fine_tunings) > len(told) > 0
    assert {each.rows for each in told} == {rows}
    assert {each.settings["steps"] for each in told} == {7}
    assert told[0].settings["max_length"] == search["max_length"]
    assert "dataset_id" not in told[0].settings
    again = light_service.wait(light_service.search(**ids, **trained))
    assert again["progress"]["cached"] == again["progress"]["completed"]
    assert plain["evaluation"] is None
    answer = light_service.client.delete(f"/v1/datasets/{fine_tune['dataset_id']}")
    assert answer.status_code == 409


def nearest(service: Running, **fields: object) -> dict[str, object]:
    return asked(service, start="nearest", min_overlap=0.3, **fields)


def essence(service: Running, search_id: str) -> list[tuple[object, ...]]:
    items = service.get(f"/v1/searches/{search_id}/evaluations", limit=100)["items"]
    return [(each["number"], each["subnet"], each["metrics"], each["start"]) for each in items]


def test_trainings_begin_with_the_nearest_and_answers_are_those_of_the_same_chain(light_service):
    ids = {"supernet_id": light_service.supernet(), "dataset_id": light_service.dataset()}
    trained = nearest(light_service)
    search_id = light_service.search(**ids, **trained, verify=0.5)
    light_service.wait(search_id)
    found = essence(light_service, search_id)
    starts = {number: start for number, _, _, start in found}
    assert all(start is None or start["number"] < number for number, start in starts.items())
    assert sum(start is not None for start in starts.values()) > 10
    told = light_service.worker.starts
    subnets = {number: subnet for number, subnet, _, _ in found}
    for number, start in starts.items():
        sent = told[search_id, number]
        assert (sent is None) is (start is None)
        if sent is not None:
            assert sent.subnet == subnets[start["number"]]
            assert sent.layers == start["layers"]
    verified = [each for message in light_service.worker.verifications for each in message.subnets]
    assert verified
    assert all(each.trained is not None for each in verified)
    begun = len(light_service.worker.evaluated)
    again = light_service.search(**ids, **trained, verify=0.5)
    assert light_service.wait(again)["progress"]["cached"] == len(found)
    assert essence(light_service, again) == found
    assert len(light_service.worker.evaluated) == begun
    # Other seeds come upon the same subnets from elsewhere: those are trained anew.
    other = light_service.wait(light_service.search(**ids, **trained, verify=0.5, seed=5))
    assert 0 < other["progress"]["cached"] < len(found)


def test_a_search_that_is_killed_goes_on_with_the_same_starts(tmp_path):
    url = f"sqlite:///{tmp_path / 'killed.sqlite'}"
    with running_service(url, tmp_path) as service:
        ids = {"supernet_id": service.supernet(), "dataset_id": service.dataset()}
        trained = nearest(service)
        measure = service.worker.metrics
        service.worker.metrics = lambda subnet: time.sleep(0.02) or measure(subnet)
        search_id = service.search(**ids, **trained)
        service.until(lambda: len(service.worker.evaluated) >= 12)
    with running_service(url, tmp_path) as service:
        service.wait(search_id)
        killed = essence(service, search_id)
        # Of its own rows nothing is answered: another dataset with the same rows to train on.
        again = {**ids, "dataset_id": service.dataset(rows=6)}
        undisturbed = service.search(**again, **trained)
        service.wait(undisturbed)
        assert essence(service, undisturbed) == killed


def test_a_worker_that_keeps_no_weights_is_asked_again(light_service):
    light_service.worker.keeps_weights = False
    search_id = light_service.search(**nearest(light_service), budget={"evaluations": 4})
    light_service.until(lambda: len(light_service.worker.evaluated) > 8)
    light_service.worker.keeps_weights = True
    search = light_service.wait(search_id)
    assert search["progress"]["completed"] == 4


def test_what_is_kept_has_a_bound_that_is_known_beforehand(tmp_path):
    url = f"sqlite:///{tmp_path / 'bound.sqlite'}"
    each = 4 * synthetic_report_params()
    with running_service(url, tmp_path, trained_weights_bytes=10 * each) as service:
        body = service.body(**nearest(service), budget={"evaluations": 11})
        answer = service.client.post("/v1/searches", json=body)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/budget/evaluations"
        assert "at most 10" in answer.text
        body["budget"] = {"evaluations": 9}
        search_id = service.client.post("/v1/searches", json=body).json()["id"]
        service.wait(search_id)
        path = f"/v1/searches/{search_id}/extend"
        answer = service.client.post(path, json={"evaluations": 2})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/evaluations"
        assert service.client.post(path, json={"evaluations": 1}).status_code == 200


def synthetic_report_params() -> int:
    report = synthetic_report()
    maximal = SearchSpace(report.dimensions).maximal
    return cost_report(report.cost_model, maximal, 64).params


REFUSED = [
    ({"dataset_id": "nope"}, {}, "/evaluation/fine_tune/dataset_id"),
    ({"steps": 0}, {}, "/evaluation/fine_tune/steps"),
    ({"speed": 2}, {}, "/evaluation/fine_tune/speed"),
    ({"max_length": 100_000}, {}, "/evaluation/fine_tune/max_length"),
    ({"trained": "heads"}, {}, "/evaluation/fine_tune/trained"),
    ({"start": "here"}, {}, "/evaluation/fine_tune/start"),
    ({"min_overlap": 0}, {}, "/evaluation/fine_tune/min_overlap"),
    ({"start": "nearest", "trained": "adapters"}, {}, "/evaluation/fine_tune"),
    ({}, {"precision": "bfloat16"}, "/evaluation"),
    ({}, {"racing": {"confidence": 0.9}}, "/racing"),
]


def test_what_cannot_be_trained_is_refused_by_name(light_service):
    body, training = light_service.body(), light_service.dataset(rows=10)
    for wrong, fields, pointer in REFUSED:
        evaluation = {"fine_tune": {"dataset_id": training, **wrong}}
        answer = light_service.client.post(
            "/v1/searches", json={**body, "evaluation": evaluation, **fields}
        )
        assert answer.status_code == 422, (wrong, fields)
        assert answer.json()["errors"][0]["pointer"] == pointer


def test_the_rows_that_are_measured_on_are_not_trained_on(light_service):
    dataset = light_service.dataset(rows=12)
    body = light_service.body(
        dataset_id=dataset, evaluation={"fine_tune": {"dataset_id": dataset, "steps": 3}}
    )
    answer = light_service.client.post("/v1/searches", json=body)
    assert answer.status_code == 422
    assert "by heart" in answer.json()["detail"]
