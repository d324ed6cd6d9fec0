"""Published causal super-networks through REST: what a search measures is what its original did."""

from __future__ import annotations

import io
import json
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_commands import elasticnas
from tests.end_to_end.server import Server
from tests.supernet.published import BASES, references

SETTINGS = {"prompt": "Text: {sentence1}\nKind:", "add_bos": None}

pytestmark = pytest.mark.slow


def archive(data: Path, name: str) -> bytes:
    """The published files as they are uploaded: the space under the name that it is known by."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", dereference=True) as tar:
        tar.add(data / BASES[name], arcname="base")
        for file in (data / name).iterdir():
            if file.name.startswith("nncf_"):
                tar.add(file, arcname="nncf_config.json")
            elif file.name != "reference.json":
                tar.add(file, arcname=f"adapter/{file.name}")
    return content.getvalue()


def register(server: Server, data: Path, name: str) -> dict[str, Any]:
    files = {"archive": ("checkpoint.tar", archive(data, name))}
    answer = server.client.post("/v1/supernets", files=files)
    while answer.status_code == 202 or answer.json().get("state") == "reading":
        time.sleep(0.2)
        answer = server.client.get(f"/v1/supernets/{answer.json()['id']}")
    assert answer.json()["state"] == "ready", answer.text
    return dict(answer.json())


def add_rows(server: Server, data: Path, count: int) -> str:
    """The first rows of textkind."""
    lines = (data / "textkind" / "validation.jsonl").read_text(encoding="utf-8").splitlines(True)
    answer = server.client.post(
        "/v1/datasets",
        files={"file": ("textkind.jsonl", "".join(lines[:count]).encode())},
        data={
            "task": "multiple-choice",
            "text_columns": "sentence1",
            "choices_column": "choices",
            "label_column": "label",
        },
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.mark.parametrize("name", BASES)
def test_a_search_measures_what_the_original_did(server: Server, shared_data: Path, name):
    supernet = register(server, shared_data, name)
    assert supernet["method"] == name.partition("-")[0]
    space = server.client.get(f"/v1/supernets/{supernet['id']}/space").json()
    dimensions = [each["name"] for each in space["dimensions"]]
    expected = {
        json.dumps(choices): entry["textkind"]
        for entry in references(shared_data, name)
        for choices in [list(entry.get("ranks") or entry["widths"].values())]
    }
    rows = next(iter(expected.values()))["n"]
    subnets = [dict(zip(dimensions, json.loads(each), strict=True)) for each in expected]
    search = server.search(
        supernet["id"],
        add_rows(server, shared_data, rows),
        max_length=128,
        task_settings=SETTINGS,
        objectives=["mean_log_likelihood", "gflops"],
        precision="float32",
        initial_subnets=subnets,
        budget={"evaluations": len(subnets)},
    )
    found = server.finish(search)
    assert found["state"] == "completed", found["error"]
    measured = [each for each in server.evaluations(search) if each["state"] == "completed"]
    assert len(measured) == len(expected) > 2
    for each in measured:
        entry = expected[json.dumps([each["subnet"][dimension] for dimension in dimensions])]
        metrics = each["metrics"]
        assert metrics["acc"] * rows == pytest.approx(entry["correct"])
        assert metrics["acc_norm"] * rows == pytest.approx(entry["correct_norm"])
        assert metrics["mean_log_likelihood"] == pytest.approx(entry["mean_ll_gold"], abs=1e-4)


OBJECTIVES = {
    "lonas-llama-textkind": "gflops",
    "shears-llama-textkind": "nonzero_params",
    "sqft-llama-textkind": "trainable_params",
}
"""What each method's likelihood is searched against."""


@pytest.mark.parametrize("way", ["rest", "command line"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_front_of_likelihood_and_the_methods_cost_is_verified(
    server: Server, shared_data: Path, name: str, way: str
):
    supernet = register(server, shared_data, name)["id"]
    dataset, cost = add_rows(server, shared_data, 96), OBJECTIVES[name]
    if way == "rest":
        number = server.search(
            supernet,
            dataset,
            max_length=128,
            task_settings=SETTINGS,
            objectives=["mean_log_likelihood", cost],
            budget={"evaluations": 24},
            verify=0.5,
        )
    else:
        started = elasticnas(
            *("search", "--supernet", supernet, "--dataset", dataset, "--max-length", 128),
            *("--task-settings", json.dumps(SETTINGS), "--objective", "mean_log_likelihood"),
            *("--objective", cost, "--evaluations", 24, "--verify", 0.5, "--detach", "--json"),
            server=server,
        )
        assert started.returncode == 0, started.stderr
        number = json.loads(started.stdout)["id"]
    found = server.finish(number)
    assert found["state"] == "completed", found["error"]
    front = server.front(number)["items"]
    points = [(each["cost"][cost], each["metrics"]["mean_log_likelihood"]) for each in front]
    assert len(points) > 2
    assert points == sorted(points)
    for each in front:
        assert each["verified"]["rows"] == 48
        interval = each["verified"]["metrics"]["mean_log_likelihood"]
        assert interval["low"] <= interval["value"] <= interval["high"]
