"""Multiple choice on a language model over REST: registered, searched, verified, answered."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from elasticnas.supernet.contracts.checkpoints import VOCABULARY, write_checkpoint
from elasticnas.supernet.families.llama import LLAMA
from tests.cli.test_commands import elasticnas
from tests.end_to_end.server import Server

ROWS = 96
SETTINGS = {"prompt": "w5 {question} w6", "add_bos": True}
SMALL = 0.8
"""The bound on GFLOPs, as a share of the maximal subnet's."""


def rows() -> list[dict[str, Any]]:
    rng = random.Random(5)

    def words(fewest: int, most: int) -> str:
        count = rng.randint(fewest, most)
        return " ".join(f"w{rng.randrange(5, VOCABULARY - 8)}" for _ in range(count))

    return [
        {
            "question": words(2, 8),
            "choices": [words(1, 4) for _ in range(rng.randint(2, 4))],
            "answer": rng.choice("AB"),
        }
        for _ in range(ROWS)
    ]


@pytest.fixture(scope="module")
def supernet(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_checkpoint(tmp_path_factory.mktemp("llama") / "llama", LLAMA)
    tokenizer = folder / "base" / "tokenizer_config.json"
    said = json.loads(tokenizer.read_text())
    tokenizer.write_text(json.dumps({**said, "bos_token": "[CLS]"}))
    return str(server.upload(folder)["id"])


@pytest.fixture(scope="module")
def dataset(server: Server) -> str:
    answer = server.client.post(
        "/v1/datasets",
        files={"file": ("d.jsonl", "".join(json.dumps(row) + "\n" for row in rows()))},
        data={
            "task": "multiple-choice",
            "text_columns": "question",
            "choices_column": "choices",
            "label_column": "answer",
        },
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["choices_columns"] == ["choices"]
    assert answer.json()["metric"] == "acc"
    return str(answer.json()["id"])


def body(server: Server, supernet: str, **others: Any) -> dict[str, Any]:
    cost = server.client.post(f"/v1/supernets/{supernet}/cost", json={}).json()
    return {
        "objectives": ["mean_log_likelihood", "gflops"],
        "constraints": [{"cost": "gflops", "max": SMALL * cost["gflops"]}],
        "budget": {"evaluations": 24},
        "task_settings": SETTINGS,
        **others,
    }


@pytest.fixture(scope="module")
def search(server: Server, supernet: str, dataset: str) -> dict[str, Any]:
    number = server.search(supernet, dataset, **body(server, supernet, verify=0.5))
    return server.finish(number)


def test_a_front_of_likelihood_and_cost_is_found_under_a_constraint(
    server: Server, search: dict[str, Any]
):
    assert search["state"] == "completed", search["error"]
    assert search["task_settings"] == SETTINGS
    front = server.front(search["id"])["items"]
    (bound,) = search["constraints"]
    assert len(front) > 1
    assert all(each["cost"]["gflops"] <= bound["max"] for each in front)
    points = [(each["cost"]["gflops"], each["metrics"]["mean_log_likelihood"]) for each in front]
    assert points == sorted(points)
    assert 0 < search["hypervolume"] < 1
    assert set(front[0]["metrics"]) == {"acc", "acc_norm", "mean_log_likelihood"}


def test_its_front_is_verified_by_resampled_rows(server: Server, search: dict[str, Any]):
    for each in server.front(search["id"])["items"]:
        verified = each["verified"]
        assert verified["rows"] == ROWS // 2
        for name in ("acc", "acc_norm", "mean_log_likelihood"):
            interval = verified["metrics"][name]
            assert interval["low"] <= interval["value"] <= interval["high"]


@pytest.mark.parametrize("kind", ["front", "history", "importance", "widths"])
def test_it_is_drawn(server: Server, search: dict[str, Any], kind: str):
    answer = server.client.get(f"/v1/searches/{search['id']}/plots/{kind}?format=svg")
    assert answer.status_code == 200, answer.text


def test_a_front_is_filtered_by_a_log_likelihood(server: Server, search: dict[str, Any]):
    whole = server.front(search["id"])["items"]
    found = sorted(each["metrics"]["mean_log_likelihood"] for each in whole)
    bound = found[len(found) // 2]
    answer = server.client.get(
        f"/v1/searches/{search['id']}/front", params={"min_mean_log_likelihood": repr(bound)}
    )
    left = sorted(each["metrics"]["mean_log_likelihood"] for each in answer.json()["items"])
    assert left == [each for each in found if each >= bound]


def test_answers_come_again_under_the_same_settings_alone(
    server: Server, search: dict[str, Any], supernet: str, dataset: str
):
    """The prompt is a condition of what is measured."""
    same, other = (
        server.finish(
            server.search(
                supernet,
                dataset,
                **body(server, supernet, verify=0.5, task_settings={**SETTINGS, **changed}),
            )
        )
        for changed in ({}, {"prompt": "w7 {question}"})
    )
    assert same["progress"]["cached"] == same["progress"]["completed"] == 24
    assert same["best"]["metrics"] == search["best"]["metrics"]
    assert other["progress"]["cached"] == 0
    assert other["best"]["metrics"] != search["best"]["metrics"]


def test_the_command_line_says_columns_and_settings(
    server: Server, supernet: str, search: dict[str, Any], tmp_path: Path
):
    """The same file under the same conditions: the search of before has the answers."""
    assert search["state"] == "completed"
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    added = elasticnas(
        *("dataset", "add", file, "--task", "multiple-choice", "--text-columns", "question"),
        *("--choices-column", "choices", "--label-column", "answer", "--json"),
        server=server,
    )
    assert added.returncode == 0, added.stderr
    given = ("--task-settings", json.dumps(SETTINGS), "--objective", "acc_norm")
    started = elasticnas(
        *("search", "--supernet", supernet, "--dataset", json.loads(added.stdout)["id"], *given),
        *("--objective", "gflops", "--max-length", 32, "--evaluations", 4, "--verify", 0.5),
        *("--detach", "--json"),
        server=server,
    )
    assert started.returncode == 0, started.stderr
    again = server.finish(json.loads(started.stdout)["id"])
    assert again["task_settings"] == SETTINGS
    assert again["progress"]["cached"] > 0


@pytest.mark.parametrize("given", ["{", "[]"])
def test_settings_on_the_command_line_are_a_json_object(given: str):
    ended = elasticnas("search", "--supernet", "a", "--dataset", "b", "--task-settings", given)
    assert ended.returncode == 2
    assert "--task-settings" in ended.stderr


def test_it_races_by_acc(server: Server, supernet: str, dataset: str):
    request = body(server, supernet, objectives=["acc", "gflops"], racing={"confidence": 0.9})
    raced = server.finish(server.search(supernet, dataset, **request))
    assert raced["state"] == "completed", raced["error"]
    assert raced["progress"]["given_up"] > 0


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"task_settings": {"prompt": "{passage}"}}, "/task_settings/prompt"),
        ({"task_settings": {"propmt": "x"}}, "/task_settings/propmt"),
        ({"objectives": ["accuracy", "gflops"]}, "/objectives/0"),
        ({"racing": {"confidence": 0.9}}, "/racing"),
    ],
)
def test_what_is_wrong_is_refused_before_any_work(
    server: Server, supernet: str, dataset: str, changed: dict[str, Any], pointer: str
):
    request = {"supernet_id": supernet, "dataset_id": dataset, **body(server, supernet, **changed)}
    answer = server.client.post("/v1/searches", json=request)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_a_language_model_does_no_text_classification(
    server: Server, supernet: str, tmp_path: Path
):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "w5", "label": 0}\n{"text": "w6", "label": 1}\n')
    added = server.client.post(
        "/v1/datasets",
        files={"file": rows.read_bytes()},
        data={"task": "text-classification", "text_columns": "text", "label_column": "label"},
    )
    answer = server.client.post(
        "/v1/searches", json={"supernet_id": supernet, "dataset_id": added.json()["id"]}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/dataset_id"
    assert "predicts the next token" in answer.json()["detail"]
