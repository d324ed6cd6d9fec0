"""A search that trains each subnet before it measures it, over REST: what is measured is had."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elasticnas.supernet.checkpoint.reader import read_supernet
from tests.end_to_end.server import Server, write_rows
from tests.supernet.stranger import Stranger
from tests.supernet.test_reader import write_lonas
from tests.supernet.tiny import sentences

pytestmark = pytest.mark.slow

ROWS = 80


def rows_to_train_on(server: Server, folder: Path) -> str:
    """The id of a dataset of other rows than `write_rows` has."""
    more = folder / "more.jsonl"
    rows = [{"sentence": text, "label": int("good" in text)} for text in sentences(200, seed=21)]
    more.write_text("".join(json.dumps(row) + "\n" for row in rows))
    form = {"name": "more", "text_columns": "sentence", "label_column": "label"}
    with more.open("rb") as file:
        answer = server.client.post(
            "/v1/datasets",
            files={"file": file},
            data=form | {"task": "text-classification", "metric": "accuracy"},
        )
    found: str = answer.json()["id"]
    return found


def test_subnets_are_trained_measured_verified_and_handed_out(server: Server, tmp_path: Path):
    checkpoint = write_lonas(tmp_path / "checkpoint")
    ids = server.register(checkpoint, write_rows(tmp_path / "rows.jsonl", count=ROWS))
    fine_tune = {
        "dataset_id": rows_to_train_on(server, tmp_path),
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


def trained(server: Server, search: str) -> list[tuple[Any, ...]]:
    return [
        (each["number"], each["subnet"], each["metrics"], each["start"], each["rungs"])
        for each in server.evaluations(search)
    ]


def test_a_killed_search_goes_on_along_the_same_chain_and_on_the_same_rungs(
    serve: Callable[..., Server], tmp_path: Path
):
    """With a real model: what was learnt before the kill -9 is where trainings begin after it."""
    server = serve()
    checkpoint = write_lonas(tmp_path / "checkpoint")
    ids = server.register(checkpoint, write_rows(tmp_path / "rows.jsonl", count=ROWS))
    fine_tune = {
        **{"dataset_id": rows_to_train_on(server, tmp_path), "steps": 40, "batch_size": 16},
        **{"learning_rate": 2e-3, "start": "nearest", "min_overlap": 0.3},
        "halving": {"eta": 2, "rungs": 3},
    }
    request = {
        "evaluation": {"fine_tune": fine_tune},
        "budget": {"evaluations": 15},
        "seed": 3,
        "verify": 0.5,
    }
    rehearsal = server.search(*ids, **request)
    assert server.finish(rehearsal)["state"] == "completed"
    undisturbed = trained(server, rehearsal)
    assert any(start is not None for _, _, _, start, _ in undisturbed)
    # Deleted, so that nothing of it is answered from the database.
    assert server.client.delete(f"/v1/searches/{rehearsal}").status_code == 204

    search = server.search(*ids, **request)
    deadline = time.monotonic() + 120
    while sum(bool(each["rungs"]) for each in server.evaluations(search)) < 6:
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.02)
    server.kill()
    server.start()
    end = server.finish(search)
    assert (end["state"], end["progress"]["cached"]) == ("completed", 0)
    assert trained(server, search) == undisturbed
    member = max(server.front(search)["items"], key=lambda each: len(each["rungs"] or ()))
    assert member["verified"] is not None
    archive = server.weights(search, member["number"], "transformers")
    assert archive.status_code == 200, archive.text
    with zipfile.ZipFile(io.BytesIO(archive.content)) as pack:
        card = next(name for name in pack.namelist() if name.endswith("README.md"))
        text = pack.read(card).decode()
    assert ("The training began with the weights" in text) == (member["start"] is not None)
    assert ("| value | after 10 steps | after 20 steps |" in text) == bool(member["rungs"])
