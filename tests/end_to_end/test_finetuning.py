"""A chosen subnet is trained on by itself over REST, and loaded by stock Transformers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elasticnas.client import Client
from elasticnas.supernet.checkpoint.reader import read_supernet
from tests.end_to_end.cluster import until
from tests.end_to_end.server import Server, write_rows
from tests.supernet.stranger import Stranger
from tests.supernet.test_reader import write_lonas
from tests.supernet.tiny import sentences

pytestmark = pytest.mark.slow

SETTINGS = {"steps": 60, "batch_size": 16, "learning_rate": 2e-3}
ROWS = 80


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lonas(tmp_path_factory.mktemp("input") / "checkpoint")


@pytest.fixture(scope="module")
def search(server: Server, checkpoint: Path) -> dict[str, Any]:
    ids = server.register(checkpoint, write_rows(checkpoint.parent / "rows.jsonl", count=ROWS))
    return server.finish(server.search(*ids, budget={"evaluations": 6}))


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other rows than the search's, with the same columns."""
    file = tmp_path_factory.mktemp("more") / "more.jsonl"
    rows = [{"sentence": text, "label": int("good" in text)} for text in sentences(200, seed=21)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def accuracy(folder: Path, checkpoint: Path) -> float:
    """Of a model's folder on the search's rows, where this project is not installed."""
    stranger = Stranger()
    texts = sentences(ROWS, seed=9)
    found = stranger.load(folder, "transformers-with-code", read_supernet(checkpoint), texts)
    stranger.close()
    pairs = zip(found["logits"], texts, strict=True)
    right = sum(int(np.argmax(logits)) == int("good" in text) for logits, text in pairs)
    return right / ROWS


def test_the_model_measures_what_the_job_says_in_stock_transformers(
    server: Server, search: dict[str, Any], more: Path, checkpoint: Path, tmp_path: Path
):
    client = Client(str(server.client.base_url))
    columns = {"text_columns": "sentence", "label_column": "label"}
    dataset = client.add_dataset(more, {"task": "text-classification", **columns})
    job = client.finetune(search["id"], 2, {"dataset_id": dataset.id, "settings": SETTINGS})
    until(lambda: client.job(job.id).state.is_final, 600, says=server.log())
    over = client.job(job.id)
    assert over.finetuned is not None, over.problem
    assert over.finetuned.metrics is not None, over.problem
    change = over.finetuned.metrics["accuracy"]
    evaluation = client.evaluation(search["id"], 2)
    assert change.before == (evaluation.metrics or {})["accuracy"]
    assert change.after > change.before
    client.download_product(job.id, "measure", tmp_path / "model")
    assert accuracy(tmp_path / "model", checkpoint) == pytest.approx(change.after)
    card = (tmp_path / "model" / "README.md").read_text()
    assert f"| accuracy | {change.after:.4f} | {change.before:.4f} |" in card
    told = [event for event in client.job_events(job.id, after=0) if event.event == "scalars"]
    assert {event.data["step"] for event in told} == {"train", "measure"}


def test_the_command_trains_the_knee_and_downloads_the_model(
    server: Server, search: dict[str, Any], more: Path, checkpoint: Path, tmp_path: Path
):
    settings = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "elasticnas.cli.main", "finetune", search["id"], "--knee"),
            *("--data", str(more), "--output", str(tmp_path / "model"), "--json", *settings),
            *("--server", str(server.client.base_url)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert job["finetuned"]["number"] == server.front(search["id"])["knee"]
    after = job["finetuned"]["metrics"]["accuracy"]["after"]
    assert accuracy(tmp_path / "model", checkpoint) == pytest.approx(after)
