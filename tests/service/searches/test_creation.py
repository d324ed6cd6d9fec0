"""What a search must be like to be created at all."""

from __future__ import annotations

import json
import sys

import pyarrow.parquet as pq
import pytest

from elasticnas.api_schemas.spaces import RANK
from elasticnas.search.cost_terms import Extent, cost_model, linear
from elasticnas.service.datasets import repository
from elasticnas.service.searches.tables import SearchRow
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


def test_where_ranks_alone_differ_the_usual_cost_is_that_of_adapters(light_service):
    """Merged, they all take the same operations."""
    report = synthetic_report()
    ranks = tuple(each for each in report.dimensions if each.part == RANK)
    side = Extent(full=384)
    terms = [t for d in ranks for t in linear(side, side, rank=Extent(full=8, dimension=d.name))]
    light_service.worker.report = report.model_copy(
        update={"dimensions": ranks, "cost_model": cost_model(terms)}
    )
    search = light_service.get(f"/v1/searches/{light_service.search(budget={'evaluations': 3})}")
    assert search["objectives"] == ["accuracy", "nonzero_params"]


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
        ({"objectives": ["speed", "gflops"]}, "/objectives/0", "neither a metric nor a cost"),
        ({"objectives": ["accuracy", "kv_bytes"]}, "/objectives/1", "not known of the super"),
        (
            {"constraints": [{"cost": "gflops_per_token", "max": 1}]},
            "/constraints/0",
            "not known of the super",
        ),
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


WORDS = ("contradiction", "entailment", "neutral")
MNLI = ("Entailment", "Neutral", "Contradiction")


def named(running, *labels: str, **fields: str) -> str:
    """The id of a dataset of rows with these labels."""
    text = "".join(json.dumps({"sentence": "t", "label": label}) + "\n" for label in labels)
    form = {
        "name": "named",
        "task": "text-classification",
        "text_columns": "sentence",
        "label_column": "label",
    }
    answer = running.client.post("/v1/datasets", data=form | fields, files={"file": ("d", text)})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def labels_of(running, search_id: str, column: str = "dataset_digest") -> list[int]:
    """The labels that the workers of a search measure against."""
    service = running.client.app.state.service
    with service.database.read() as session:
        digest = getattr(session.get_one(SearchRow, search_id), column)
        assert digest in repository.digests(session)
    with service.blobs.lease(digest) as path:
        return pq.read_table(path)["label"].to_pylist()


@pytest.mark.parametrize(
    ("head", "labels", "classes"),
    [
        (MNLI, WORDS, [2, 0, 1]),
        (MNLI, ("NEUTRAL", " NEUTRAL ", "entailment "), [1, 1, 0]),
        (("pos", "neg"), ("neg", "pos", "neg"), [1, 0, 1]),
        (("neg", "pos"), ("neg", "pos"), [0, 1]),
        (None, ("LABEL_2", "LABEL_10", "LABEL_0"), [2, 10, 0]),
        (None, ("label_1", "label_0"), [1, 0]),
        (MNLI, ("LABEL_2", "LABEL_1"), [2, 1]),
        (("LABEL_10", "LABEL_2"), ("LABEL_2", "LABEL_10"), [1, 0]),
        (("stra\u00dfe", "caf\u00e9"), ("CAFE\u0301", "STRASSE"), [1, 0]),
    ],
)
def test_labels_are_classes_by_the_super_networks_own_names(light_service, head, labels, classes):
    light_service.worker.report = synthetic_report(len(head or range(12)), label_names=head)
    dataset = named(light_service, *labels)
    search = light_service.search(dataset_id=dataset, budget={"evaluations": 1})
    assert labels_of(light_service, search) == classes


@pytest.mark.parametrize(
    ("head", "labels", "fields", "says"),
    [
        (None, WORDS, {}, "label_names in the order of the super-network's 3 classes"),
        (("0", "1", "2"), WORDS, {}, "label_names in the order of the super-network's 3 classes"),
        (MNLI, ("neutral", "maybe"), {}, "Entailment, Neutral, Contradiction"),
        (MNLI, ("neutral", "LABEL_1"), {}, "LABEL_1"),
        (MNLI, ("neutral", "NEUTRAL"), {}, "two labels of the dataset are class 1"),
        (None, ("LABEL_3", "LABEL_0"), {}, "0 to 2"),
        (None, ("LABEL_0", "no"), {}, "which class each of them is"),
        (MNLI, WORDS, {"label_names": ",".join(WORDS)}, "Entailment,Neutral,Contradiction"),
        (None, ("LABEL_0",), {"label_names": "LABEL_1,LABEL_0"}, "LABEL_0,LABEL_1,LABEL_2"),
    ],
)
def test_labels_whose_classes_nothing_says_are_refused(light_service, head, labels, fields, says):
    light_service.worker.report = synthetic_report(3, label_names=head)
    dataset = named(light_service, *labels, **fields)
    problem = refused(light_service, dataset_id=dataset)
    assert problem["errors"][0]["pointer"] == "/dataset_id"
    assert says in problem["detail"]


@pytest.mark.parametrize(
    ("head", "label_names", "classes"),
    [
        (("1", "0"), "1,0", [1, 0, 0]),
        (("1", "0"), "LABEL_0,LABEL_1", [0, 1, 1]),
        (("0.0", "1.0"), None, [0, 1, 1]),
        (("False", "True"), None, [0, 1, 1]),
        (("true", "false"), "LABEL_0,LABEL_1", [0, 1, 1]),
        (("no", "1"), None, [0, 1, 1]),
    ],
)
def test_numbers_are_places_unless_classes_are_called_by_other_numbers(
    light_service, head, label_names, classes
):
    light_service.worker.report = synthetic_report(2, label_names=head)
    fields = {} if label_names is None else {"label_names": label_names}
    dataset = named(light_service, "0", "1", "1", **fields)
    search = light_service.search(dataset_id=dataset, budget={"evaluations": 1})
    assert labels_of(light_service, search) == classes


@pytest.mark.parametrize("head", [("1", "0"), ("1", "2"), ("-1", "1"), ("True", "False")])
def test_numbers_that_could_be_names_are_refused(light_service, head):
    light_service.worker.report = synthetic_report(2, label_names=head)
    problem = refused(light_service, dataset_id=named(light_service, "0", "1"))
    assert problem["errors"][0]["pointer"] == "/dataset_id"
    assert f"label_names {','.join(head)} if" in problem["detail"]
    assert "LABEL_0,LABEL_1 if label k is class k" in problem["detail"]


@pytest.mark.parametrize("head", [None, ("Neutral", "entailment"), ("0", "1")])
def test_given_label_names_say_the_classes(light_service, head):
    light_service.worker.report = synthetic_report(2, label_names=head)
    dataset = named(light_service, "entailment", "neutral", label_names="neutral,entailment")
    search = light_service.search(dataset_id=dataset, budget={"evaluations": 1})
    assert labels_of(light_service, search) == [1, 0]


def test_the_rows_that_verify_a_front_are_matched_by_name_too(light_service):
    light_service.worker.report = synthetic_report(2, label_names=("pos", "neg"))
    here, there = named(light_service, "neg", "pos"), named(light_service, "pos", "pos", "neg")
    search = light_service.search(
        dataset_id=here, verify_dataset_id=there, budget={"evaluations": 1}
    )
    assert labels_of(light_service, search) == [1, 0]
    assert labels_of(light_service, search, "verify_dataset_digest") == [0, 0, 1]
    light_service.wait(search)
    same = named(light_service, "Neg", "Pos")
    body = light_service.body(dataset_id=here, verify_dataset_id=same)
    problem = light_service.client.post("/v1/searches", json=body).json()
    assert problem["errors"][0]["pointer"] == "/verify_dataset_id"
    assert "other rows" in problem["detail"]


def test_answers_from_the_database_are_of_the_same_classes(light_service):
    """One file under two super-networks' names is two datasets, and by number it is a third's."""
    worker = light_service.worker
    worker.report = synthetic_report(2, label_names=("neg", "pos"))
    sorted_net = light_service.supernet()
    worker.report = synthetic_report(2, label_names=("pos", "neg"))
    other_net = light_service.supernet(**{"base/x": "2"})
    dataset = named(light_service, "neg", "pos", "pos")
    numbered = named(light_service, "1", "0", "0")
    first, second, third = (
        light_service.search(
            supernet_id=net, dataset_id=rows, budget={"evaluations": 3}, strategy={"name": "random"}
        )
        for net, rows in ((sorted_net, dataset), (other_net, dataset), (other_net, numbered))
    )
    assert labels_of(light_service, first) == [0, 1, 1]
    assert labels_of(light_service, second) == labels_of(light_service, third) == [1, 0, 0]
    service = light_service.client.app.state.service
    with service.database.read() as session:
        rows = [session.get_one(SearchRow, each) for each in (first, second, third)]
    assert rows[0].dataset_digest != rows[1].dataset_digest == rows[2].dataset_digest


def test_a_strategy_whose_packages_are_not_there_is_refused_with_the_remedy(
    light_service, monkeypatch: pytest.MonkeyPatch
):
    body = light_service.body(strategy={"name": "gp"})
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    refused = light_service.client.post("/v1/searches", json=body)
    assert refused.status_code == 422
    [error] = refused.json()["errors"]
    assert error["pointer"] == "/strategy/name"
    assert "pip install torch" in refused.json()["detail"]


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
