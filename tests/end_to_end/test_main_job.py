"""A super-network in, its Pareto front and a subnet's weights out, against a real server."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from elasticnas.search.pareto import non_dominated
from elasticnas.supernet.checkpoint.reader import read_supernet
from tests.end_to_end.server import Server, write_rows
from tests.supernet.stranger import Stranger
from tests.supernet.test_reader import write_lonas
from tests.supernet.tiny import sentences


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lonas(tmp_path_factory.mktemp("input") / "checkpoint")


@pytest.fixture(scope="module")
def ids(server: Server, checkpoint: Path) -> tuple[str, str]:
    """A super-network and a dataset that every test searches: what one measured spares the next."""
    return server.register(checkpoint, write_rows(checkpoint.parent / "rows.jsonl"))


def test_the_main_job(server: Server, ids: tuple[str, str]):
    search = server.search(
        *ids,
        strategy={"name": "nsga2", "population_size": 10},
        budget={"evaluations": 60},
        objectives=["accuracy", "gflops"],
    )
    finished = server.finish(search)
    assert finished["state"] == "completed"
    assert finished["progress"]["completed"] == 60
    assert finished["stop_reason"] == "evaluation_budget_spent"

    evaluations = server.evaluations(search)
    assert [e["number"] for e in evaluations] == list(range(60))
    losses = np.array([[-e["metrics"]["accuracy"], e["cost"]["gflops"]] for e in evaluations])
    expected = {evaluations[i]["number"] for i in np.flatnonzero(non_dominated(losses))}
    front = server.front(search)
    assert {e["number"] for e in front["items"]} == expected
    assert expected == {e["number"] for e in evaluations if e["on_front"]}
    costs = [e["cost"]["gflops"] for e in front["items"]]
    assert costs == sorted(costs)
    assert front["hypervolume"] == pytest.approx(finished["hypervolume"])
    assert front["hypervolume"] == pytest.approx(evaluations[-1]["hypervolume"])
    rising = [e["hypervolume"] for e in evaluations]
    assert all(a <= b + 1e-12 for a, b in itertools.pairwise(rising))


def test_downloaded_weights_reproduce_the_reported_accuracy(
    server: Server, ids: tuple[str, str], checkpoint: Path, tmp_path: Path
):
    given = [{"layer.0.attention.heads": 2, "layer.1.ffn.width": 8, "layer.2.lora.rank": 1}]
    search = server.search(*ids, initial_subnets=given, budget={"evaluations": 1})
    server.finish(search)
    [evaluation] = server.evaluations(search)
    answer = server.weights(search, 0, "transformers")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as zipped:
        zipped.extractall(tmp_path / "weights")
    [folder] = (tmp_path / "weights").iterdir()
    supernet = read_supernet(checkpoint)
    stranger = Stranger()
    found = stranger.load(folder, "transformers-with-code", supernet, sentences(80, seed=9))
    stranger.close()
    labels = [int("good" in text) for text in sentences(80, seed=9)]
    right = sum(
        int(np.argmax(logits)) == label
        for logits, label in zip(found["logits"], labels, strict=True)
    )
    assert right / 80 == pytest.approx(evaluation["metrics"]["accuracy"])
    card = (folder / "README.md").read_text()
    assert f"{evaluation['metrics']['accuracy']:.4f}" in card


def test_an_adapter_of_a_subnet_that_is_narrower_is_refused_with_the_reason(
    server: Server, ids: tuple[str, str]
):
    given = [{"layer.1.ffn.width": 8}, {"layer.0.lora.rank": 1}]
    search = server.search(*ids, initial_subnets=given, budget={"evaluations": 2})
    server.finish(search)
    refused = server.weights(search, 0, "peft")
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert "layer.1.ffn.width = 8 of 40" in refused.json()["detail"]
    assert server.weights(search, 1, "peft").status_code == 200


def test_the_cost_of_a_subnet_is_told_without_evaluating_it(server: Server, ids: tuple[str, str]):
    cost = server.client.post(f"/v1/supernets/{ids[0]}/cost", json={"subnet": {}}).json()
    assert cost["max_length"] == 32
    assert set(cost["breakdown"]) == {"linear", "adapters", "head", "attention"}
    # three layers of hidden 24, FFN 40, 32 tokens; rank 4 on query and value; pooler, classifier
    assert cost["breakdown"]["linear"] == 3 * 32 * (4 * 24 * 24 + 2 * 24 * 40)
    assert cost["breakdown"]["adapters"] == 3 * 32 * 2 * 4 * 48
    assert cost["breakdown"]["head"] == 24 * 24 + 24 * 2


def test_a_search_again_is_answered_from_the_database(server: Server, ids: tuple[str, str]):
    request = {"budget": {"evaluations": 30}, "strategy": {"name": "random"}, "seed": 3}
    first = server.search(*ids, **request)
    server.finish(first)
    second = server.search(*ids, **request)
    assert server.finish(second)["progress"]["cached"] == 30
    assert server.front(second)["items"] == [
        item
        | {"cached": True, "worker": other["worker"]}
        | {k: other[k] for k in ("finished_at", "duration_seconds", "hypervolume")}
        for item, other in zip(
            server.front(first)["items"], server.front(second)["items"], strict=True
        )
    ]


@pytest.mark.parametrize(
    "strategy", ["pareto", "linas", "hill-climbing", "nsga2", "nsga3", "tpe", "random"]
)
def test_every_strategy_obeys_a_constraint(server: Server, ids: tuple[str, str], strategy):
    cost = server.client.post(f"/v1/supernets/{ids[0]}/cost", json={"subnet": {}}).json()
    bound = 0.7 * cost["gflops"]
    search = server.search(
        *ids,
        strategy={"name": strategy},
        budget={"evaluations": 25},
        constraints=[{"cost": "gflops", "max": bound}],
    )
    assert server.finish(search)["state"] == "completed"
    evaluations = server.evaluations(search)
    assert len(evaluations) == 25
    assert all(e["cost"]["gflops"] <= bound for e in evaluations)


def test_a_bad_checkpoint_is_kept_as_failed_and_cannot_be_searched(server: Server, tmp_path: Path):
    checkpoint = write_lonas(tmp_path / "checkpoint")
    config = json.loads((checkpoint / "nncf_config.json").read_text())
    groups = config["bootstrapNAS"]["training"]["elasticity"]["width"]["overwrite_groups"]
    groups[0][0] = groups[0][0].replace("BertLayer[0]", "BertLayer[8]")
    (checkpoint / "nncf_config.json").write_text(json.dumps(config))
    with pytest.raises(AssertionError, match=r"overwrite_groups/0.*BertLayer\[8\]"):
        server.register(checkpoint, write_rows(tmp_path / "rows.jsonl"))
    failed = server.client.get("/v1/supernets").json()["items"][0]
    assert failed["state"] == "failed"
    assert "BertLayer[8]" in failed["problem"]["detail"]
    body = {"supernet_id": failed["id"], "dataset_id": "dataset-1"}
    assert server.client.post("/v1/searches", json=body).status_code in (404, 409)
