"""What a search must be like to be created at all."""

from __future__ import annotations

import pytest

from tests.service.stand_in import synthetic_report


def refused(running, **fields) -> dict:
    answer = running.client.post("/v1/searches", json=running.body(**fields))
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert running.get("/v1/searches")["items"] == []
    return answer.json()


def test_defaults_come_from_the_dataset_and_the_supernet(light_service):
    dataset = light_service.dataset(metric="f1")
    search = light_service.get(
        f"/v1/searches/{light_service.search(dataset_id=dataset, budget={'evaluations': 3})}"
    )
    assert search["objectives"] == ["f1", "gflops"]
    assert search["max_length"] == 64
    assert search["reference_point"]["f1"] == 0.0


@pytest.mark.parametrize(
    ("fields", "pointer", "says"),
    [
        ({"supernet_id": "nope"}, "/supernet_id", "no super-network nope"),
        ({"dataset_id": "nope"}, "/dataset_id", "no dataset nope"),
        ({"max_length": 129}, "/max_length", "at most 128 positions"),
        ({"objectives": ["pearson", "gflops"]}, "/objectives/0", "not measured by this metric"),
        (
            {"objectives": ["gflops", "params"]},
            "/objectives",
            "at least one objective must be a metric",
        ),
        ({"objectives": ["speed", "gflops"]}, "/objectives/0", "'accuracy'"),
        (
            {"constraints": [{"cost": "gflops", "max": 0.001}]},
            "/constraints/0/max",
            "no subnet satisfies gflops <= 0.001",
        ),
        ({"constraints": [{"cost": "joules", "max": 1}]}, "/constraints/0/cost", "'gflops'"),
        ({"initial_subnets": [{"layer.0.heads": 7}]}, "/initial_subnets/0/layer.0.heads", "12, 9"),
        ({"initial_subnets": [{"x": 1}]}, "/initial_subnets/0/x", "no dimension"),
        (
            {
                "initial_subnets": [{}],
                "constraints": [{"cost": "gflops", "max": 0.1}],
            },
            "/initial_subnets/0",
            "breaks a constraint",
        ),
        ({"budget": {"evaluations": 0}}, "/budget/evaluations", "greater than or equal to 1"),
        ({"budgets": {}}, "/budgets", "supernet_id, dataset_id"),
    ],
)
def test_what_is_impossible_is_named(light_service, fields, pointer, says):
    problem = refused(light_service, **fields)
    assert problem["errors"][0]["pointer"] == pointer
    assert says in problem["detail"]


def test_an_unknown_strategy_lists_the_known_ones(light_service):
    problem = refused(light_service, strategy={"name": "annealing"})
    assert problem["errors"][0]["pointer"] == "/strategy/name"
    assert problem["errors"][0]["value"] == "annealing"
    for name in ("pareto", "linas", "hill-climbing", "nsga2", "nsga3", "tpe", "gp", "random"):
        assert name in problem["detail"]


def test_an_unknown_strategy_setting_lists_the_valid_ones(light_service):
    problem = refused(light_service, strategy={"name": "nsga2", "temperature": 1})
    assert problem["errors"][0]["pointer"] == "/strategy/temperature"
    assert "population_size" in problem["detail"]
    assert "n_startup_trials" not in problem["detail"]


def test_a_label_out_of_range_is_named(light_service):
    light_service.worker.report = synthetic_report(num_labels=2)
    text = '{"sentence": "a", "label": 2}\n'
    dataset = light_service.client.post(
        "/v1/datasets",
        data={
            "name": "three",
            "task": "text-classification",
            "text_columns": "sentence",
            "label_column": "label",
        },
        files={"file": ("d", text)},
    ).json()["id"]
    problem = refused(light_service, dataset_id=dataset)
    assert "the label 2, which is out of range" in problem["detail"]


def test_a_regression_head_does_not_fit_classes(light_service):
    light_service.worker.report = synthetic_report(num_labels=1)
    assert "predicts one value" in refused(light_service)["detail"]


def test_label_names_in_another_order_are_refused(light_service):
    light_service.worker.report = synthetic_report(label_names=("negative", "positive"))
    text = "".join(f'{{"sentence": "t", "label": "{name}"}}\n' for name in ("positive", "negative"))
    form = {
        "name": "named",
        "task": "text-classification",
        "text_columns": "sentence",
        "label_column": "label",
    }

    def register(**extra: str) -> str:
        answer = light_service.client.post(
            "/v1/datasets", data=form | extra, files={"file": ("d", text)}
        )
        return answer.json()["id"]

    wrong = register(label_names="positive,negative")
    assert "negative,positive" in refused(light_service, dataset_id=wrong)["detail"]
    assert light_service.search(dataset_id=register(), budget={"evaluations": 1})


def test_the_same_key_and_body_create_one_search(service):
    body = service.body(budget={"evaluations": 3})
    headers = {"Idempotency-Key": "k1"}
    first = service.client.post("/v1/searches", json=body, headers=headers)
    again = service.client.post("/v1/searches", json=body, headers=headers)
    assert first.status_code == again.status_code == 201
    assert first.json()["id"] == again.json()["id"]
    assert len(service.get("/v1/searches")["items"]) == 1


def test_the_same_key_with_another_body_is_a_conflict(service):
    body = service.body(budget={"evaluations": 3})
    headers = {"Idempotency-Key": "k1"}
    service.client.post("/v1/searches", json=body, headers=headers)
    other = service.client.post("/v1/searches", json=body | {"seed": 1}, headers=headers)
    assert other.status_code == 409
    assert other.json()["type"] == "/problems/idempotency-conflict"
