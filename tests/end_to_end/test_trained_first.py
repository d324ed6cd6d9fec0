"""A search that trains each subnet before it measures it, over REST: what is measured is had."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from elasticnas.supernet.checkpoint.reader import read_supernet
from tests.end_to_end.server import Server, write_rows
from tests.supernet.stranger import Stranger
from tests.supernet.test_reader import write_lonas
from tests.supernet.tiny import sentences

pytestmark = pytest.mark.slow

ROWS = 80


def test_subnets_are_trained_measured_verified_and_handed_out(server: Server, tmp_path: Path):
    checkpoint = write_lonas(tmp_path / "checkpoint")
    ids = server.register(checkpoint, write_rows(tmp_path / "rows.jsonl", count=ROWS))
    more = tmp_path / "more.jsonl"
    rows = [{"sentence": text, "label": int("good" in text)} for text in sentences(200, seed=21)]
    more.write_text("".join(json.dumps(row) + "\n" for row in rows))
    form = {"name": "more", "text_columns": "sentence", "label_column": "label"}
    with more.open("rb") as file:
        answer = server.client.post(
            "/v1/datasets",
            files={"file": file},
            data=form | {"task": "text-classification", "metric": "accuracy"},
        )
    fine_tune = {
        "dataset_id": answer.json()["id"],
        "steps": 40,
        "batch_size": 16,
        "learning_rate": 2e-3,
    }
    plain, trained = (
        server.finish(server.search(*ids, budget={"evaluations": 8}, seed=3, **more))
        for more in ({}, {"evaluation": {"fine_tune": fine_tune}})
    )
    assert trained["state"] == "completed", trained["error"]
    assert trained["progress"]["cached"] == 0
    evaluations = server.evaluations(trained["id"])
    before = {
        json.dumps(each["subnet"]): each["metrics"]["accuracy"]
        for each in server.evaluations(plain["id"])
    }
    gains = [
        each["metrics"]["accuracy"] - before[json.dumps(each["subnet"])]
        for each in evaluations
        if json.dumps(each["subnet"]) in before
    ]
    assert np.mean(gains) > 0.05
    number = next(each["number"] for each in evaluations if each["origin"] == "minimal")
    archive = server.weights(trained["id"], number, "transformers")
    assert archive.status_code == 200, archive.text
    with zipfile.ZipFile(io.BytesIO(archive.content)) as pack:
        pack.extractall(tmp_path / "files")
    (folder,) = (tmp_path / "files").iterdir()
    stranger, texts = Stranger(), sentences(ROWS, seed=9)
    found = stranger.load(folder, "transformers-with-code", read_supernet(checkpoint), texts)
    stranger.close()
    right = [
        int(np.argmax(logits)) == int("good" in text)
        for logits, text in zip(found["logits"], texts, strict=True)
    ]
    assert np.mean(right) == pytest.approx(evaluations[number]["metrics"]["accuracy"])
    assert "trained on by itself with 200 rows of *more*" in (folder / "README.md").read_text()
