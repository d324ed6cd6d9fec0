"""Extractive question answering over REST: registered, searched, verified, exported."""

from __future__ import annotations

import io
import json
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

from elasticnas.supernet.families.bert import BERT
from tests.end_to_end.server import Server
from tests.service.running import tar_of
from tests.supernet.questions import rows, write_asked

ROWS = 60
SETTINGS = {"stride": 8, "null_threshold": 0.0}


@pytest.fixture(scope="module")
def supernet(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_asked(tmp_path_factory.mktemp("bert") / "bert", BERT)
    body = server.upload(folder)
    assert (body["head"], body["num_labels"]) == ("spans", 2)
    return str(body["id"])


@pytest.fixture(scope="module")
def dataset(server: Server) -> str:
    answer = server.client.post(
        "/v1/datasets",
        files={"file": ("d.jsonl", "".join(json.dumps(row) + "\n" for row in rows(ROWS)))},
        data={"task": "question-answering", "kind": "squad_v2"},
    )
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert (body["metric"], body["text_columns"]) == ("exact_match", ["question", "context"])
    assert body["task_settings"] == {"null_threshold": 0.0}
    return str(body["id"])


def body(**others: Any) -> dict[str, Any]:
    return {
        "objectives": ["answer_f1", "gflops"],
        "budget": {"evaluations": 16},
        "max_length": 24,
        "task_settings": SETTINGS,
        **others,
    }


def test_a_front_is_found_verified_and_exported_to_stock_transformers(
    server: Server, supernet: str, dataset: str, tmp_path: Path
):
    search = server.finish(server.search(supernet, dataset, **body(verify=0.5)))
    assert search["state"] == "completed", search["error"]
    assert search["task_settings"] == SETTINGS
    front = server.front(search["id"])["items"]
    measured = server.evaluations(search["id"])
    assert len({each["metrics"]["answer_f1"] for each in measured}) > 1
    for each in front:
        assert 0 <= each["metrics"]["exact_match"] <= each["metrics"]["answer_f1"] <= 1
        assert each["verified"]["rows"] == ROWS // 2
        for interval in each["verified"]["metrics"].values():
            assert interval["low"] <= interval["value"] <= interval["high"]
    archive = server.weights(search["id"], front[0]["number"], "transformers")
    with zipfile.ZipFile(io.BytesIO(archive.content)) as packed:
        packed.extractall(tmp_path)
    (config,) = tmp_path.rglob("config.json")
    model = AutoModelForQuestionAnswering.from_pretrained(config.parent, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(config.parent)
    with torch.inference_mode():
        output = model(**tokenizer("w5", "w6 w7", return_tensors="pt"))
    assert output.start_logits.shape == output.end_logits.shape == (1, 6)


def test_it_races_by_exact_match(server: Server, supernet: str, dataset: str):
    request = body(objectives=["exact_match", "gflops"], racing={"confidence": 0.8})
    raced = server.finish(server.search(supernet, dataset, **request))
    assert raced["state"] == "completed", raced["error"]
    assert raced["racing"]["confidence"] == 0.8


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"task_settings": {"stride": 24}}, "/task_settings/stride"),
        ({"task_settings": {"n_best": 0}}, "/task_settings/n_best"),
        ({"objectives": ["accuracy", "gflops"]}, "/objectives/0"),
        ({"racing": {"confidence": 0.9}}, "/racing"),
    ],
)
def test_what_is_wrong_is_refused_before_any_work(
    server: Server, supernet: str, dataset: str, changed: dict[str, Any], pointer: str
):
    request = {"supernet_id": supernet, "dataset_id": dataset, **body(**changed)}
    answer = server.client.post("/v1/searches", json=request)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["eftnas", "lonas"])
def test_a_recipe_learns_it_and_leaves_a_super_network_that_answers(
    server: Server, dataset: str, recipe: str, tmp_path: Path
):
    base = write_asked(tmp_path / "bert", BERT) / "base"
    files = {path.name: path.read_bytes() for path in base.iterdir() if path.is_file()}
    settings = {"steps": 4, "batch_size": 8, "max_length": 24, "task_settings": {"stride": 8}}
    request = {"recipe": recipe, "dataset_id": dataset, "settings": settings}
    answer = server.client.post(
        "/v1/trainings",
        files={"archive": ("model.tar", tar_of(files))},
        data={"request": json.dumps(request)},
    )
    assert answer.status_code == 202, answer.text
    job = answer.json()
    for _ in range(1200):
        job = server.client.get(f"/v1/jobs/{job['id']}").json()
        if job["state"] in ("completed", "failed"):
            break
        time.sleep(0.1)
    assert job["state"] == "completed", job["problem"]
    left = server.client.get(f"/v1/jobs/{job['id']}/steps/train/product").json()
    assert "search_space.json" in {file["path"] for file in left["files"]}
    made = server.client.get(f"/v1/supernets/{job['supernet_id']}").json()
    assert (made["head"], made["num_labels"]) == ("spans", 2)
    request = body(budget={"evaluations": 4})
    found = server.finish(server.search(job["supernet_id"], dataset, **request))
    assert found["state"] == "completed", found["error"]
