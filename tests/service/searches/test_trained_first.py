"""Searches whose subnets are trained before they are measured: what is asked of workers."""

from __future__ import annotations

from tests.service.running import Running


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


REFUSED = [
    ({"dataset_id": "nope"}, {}, "/evaluation/fine_tune/dataset_id"),
    ({"steps": 0}, {}, "/evaluation/fine_tune/steps"),
    ({"speed": 2}, {}, "/evaluation/fine_tune/speed"),
    ({"max_length": 100_000}, {}, "/evaluation/fine_tune/max_length"),
    ({"trained": "heads"}, {}, "/evaluation/fine_tune/trained"),
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
