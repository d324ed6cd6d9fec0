"""What a user adds goes through the whole service, each addition in a file of its own.

A decoder (family) in the layout of MatFormer (format), measured in bits per byte (task), is
registered, searched by regularised evolution (strategy) under a constraint, verified and exported.
A recipe that is added is driven in `tests/end_to_end/test_jobs.py`.
"""

from __future__ import annotations

import io
import json
import math
import random
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Tokenizer

from tests.additions import test_formats
from tests.end_to_end.server import Server

ADDED = (
    "family_seed_oss",
    "format_matformer",
    "task_bits_per_byte",
    "strategy_regularized_evolution",
)
PLUGINS = json.dumps([f"tests.additions.{each}" for each in ADDED])
ROOT = Path(__file__).parent.parent.parent
LETTERS = "abcdefghijklmnop"
BOUND = 0.9
"""Of the maximal subnet's cost."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("server") / "data"
    server = Server(data, ELASTICNAS_PLUGINS=PLUGINS, PYTHONPATH=str(ROOT)).start()
    yield server
    server.stop()


def texts() -> list[str]:
    rng = random.Random(0)
    return ["".join(rng.choices(LETTERS, k=rng.randrange(3, 12))) for _ in range(40)]


def register(server: Server, folder: Path) -> dict[str, Any]:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(folder, arcname="matformer")
    files = {"archive": ("matformer.tar", content.getvalue())}
    answer = server.client.post("/v1/supernets", files=files)
    while answer.status_code == 202 or answer.json().get("state") == "reading":
        time.sleep(0.2)
        answer = server.client.get(f"/v1/supernets/{answer.json()['id']}")
    return dict(answer.json())


def add_texts(server: Server) -> str:
    rows = "".join(json.dumps({"text": each}) + "\n" for each in texts())
    answer = server.client.post(
        "/v1/datasets",
        files={"file": ("texts.jsonl", rows.encode())},
        data={"task": "bits-per-byte", "text_columns": "text"},
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture(scope="module")
def supernet(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("matformer")
    test_formats.TestMatFormer().write(folder)
    for file in (folder / "base").glob("*token*"):
        file.unlink()
    vocabulary = {word: number for number, word in enumerate(["<|endoftext|>", *LETTERS, "Ġ"])}
    Qwen2Tokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder / "base")
    return register(server, folder)


@pytest.fixture(scope="module")
def search(server: Server, supernet: dict[str, Any]) -> dict[str, Any]:
    """A finished search by bits per byte and size, the front verified on a quarter of the rows."""
    cost = server.client.post(f"/v1/supernets/{supernet['id']}/cost", json={}).json()
    number = server.search(
        supernet["id"],
        add_texts(server),
        max_length=16,
        objectives=["bits_per_byte", "nonzero_params"],
        constraints=[{"cost": "nonzero_params", "max": BOUND * cost["nonzero_params"]}],
        strategy={"name": "regularized-evolution", "population_size": 8},
        budget={"evaluations": 25},
        verify=0.25,
    )
    return server.finish(number)


def test_the_supernet_is_told_by_its_family_and_format(supernet: dict[str, Any]):
    assert (supernet["state"], supernet["method"]) == ("ready", "matformer"), supernet
    assert supernet["model_type"] == "seed_oss"


def test_fewer_bits_are_better_in_front_best_and_hypervolume(
    server: Server, search: dict[str, Any]
):
    assert search["state"] == "completed", search["error"]
    assert search["strategy"]["name"] == "regularized-evolution"
    measured = [e for e in server.evaluations(search["id"]) if e["state"] == "completed"]
    assert all(math.isfinite(e["metrics"]["bits_per_byte"]) for e in measured)
    [bound] = search["constraints"]
    assert all(e["cost"]["nonzero_params"] <= bound["max"] for e in measured if e["number"])
    front = server.front(search["id"])
    points = [(e["cost"]["nonzero_params"], e["metrics"]["bits_per_byte"]) for e in front["items"]]
    assert points == sorted(points)
    assert [p for _, p in points] == sorted((p for _, p in points), reverse=True)
    smallest = min(e["metrics"]["bits_per_byte"] for e in measured)
    assert search["best"]["metrics"]["bits_per_byte"] == smallest == points[-1][1]
    assert 0 < search["hypervolume"] < 1


def test_the_front_is_verified(server: Server, search: dict[str, Any]):
    for member in server.front(search["id"])["items"]:
        interval = member["verified"]["metrics"]["bits_per_byte"]
        assert interval["low"] <= interval["value"] <= interval["high"]


def test_stock_transformers_measures_the_exported_subnet_alike(
    server: Server, search: dict[str, Any], tmp_path: Path
):
    """On the rows that the search measured on; the folder loads with the code that it carries."""
    best = search["best"]
    answer = server.weights(search["id"], best["number"], "transformers")
    assert answer.status_code == 200, answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as zipped:
        zipped.extractall(tmp_path)
    [folder] = tmp_path.iterdir()
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    loss = 0.0
    with torch.inference_mode():
        for text in texts():
            ids = tokenizer(text, truncation=True, max_length=16, return_tensors="pt").input_ids
            loss += float(model(input_ids=ids, labels=ids).loss) * (ids.shape[1] - 1)
    bits = loss / math.log(2) / sum(len(text.encode()) for text in texts())
    searched, verified = best["metrics"], best["verified"]["metrics"]
    of_both = [searched["bits_per_byte"], verified["bits_per_byte"]["value"]]
    assert min(of_both) < bits < max(of_both)
