"""Generation on a language model over REST: searched, raced, verified; and what is refused."""

from __future__ import annotations

import json

import pytest

from elasticnas.supernet.contracts.checkpoints import write_checkpoint
from elasticnas.supernet.families.llama import LLAMA
from tests.end_to_end.server import Server

ROWS = 64
SETTINGS = {
    "prompt": "w5 {question}",
    "add_bos": False,
    "max_new_tokens": 3,
    "answer_expression": "w[0-9]",
}


@pytest.fixture(scope="module")
def supernet(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_checkpoint(tmp_path_factory.mktemp("llama") / "llama", LLAMA)
    return str(server.upload(folder)["id"])


@pytest.fixture(scope="module")
def dataset(server: Server) -> str:
    rows = [{"question": f"w{5 + row % 17} w{5 + row % 13}", "label": "w9"} for row in range(ROWS)]
    answer = server.client.post(
        "/v1/datasets",
        files={"file": ("d.jsonl", "".join(json.dumps(row) + "\n" for row in rows))},
        data={"task": "generation", "text_columns": "question", "label_column": "label"},
    )
    assert answer.status_code == 201, answer.text
    assert answer.json()["metric"] == "exact_match"
    return str(answer.json()["id"])


def test_texts_are_searched_raced_and_verified(server: Server, supernet: str, dataset: str):
    request = {
        "objectives": ["exact_match", "gflops"],
        "budget": {"evaluations": 16},
        "racing": {"confidence": 0.9},
        "verify": 0.5,
        "task_settings": SETTINGS,
    }
    search = server.finish(server.search(supernet, dataset, **request))
    assert search["state"] == "completed", search["error"]
    assert search["task_settings"] == SETTINGS
    assert search["progress"]["completed"] + search["progress"]["given_up"] == 16
    front = server.front(search["id"])["items"]
    assert all(each["verified"]["rows"] == ROWS // 2 for each in front)
    assert max(each["metrics"]["exact_match"] for each in front) > 0


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"max_new_tokens": 64}, "/task_settings/max_new_tokens"),
        ({"answer": "nothing", "answer_expression": None}, "/task_settings/answer"),
        ({"answer_expression": "("}, "/task_settings/answer_expression"),
        ({"answer": "number"}, "/task_settings"),
    ],
)
def test_what_cannot_be_written_or_read_is_refused_before_any_work(
    server: Server, supernet: str, dataset: str, changed: dict[str, object], pointer: str
):
    request = {
        "supernet_id": supernet,
        "dataset_id": dataset,
        "max_length": 64,
        "task_settings": {**SETTINGS, **changed},
    }
    answer = server.client.post("/v1/searches", json=request)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer
