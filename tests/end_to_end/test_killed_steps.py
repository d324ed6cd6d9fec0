"""Server and worker killed in the middle of each step of a recipe: its products are the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from elasticnas.api_schemas.recipes import RECIPES
from tests.end_to_end.cluster import until
from tests.end_to_end.server import Server, write_rows
from tests.end_to_end.test_jobs import archive_of
from tests.supernet.test_reader import write_lonas
from tests.supernet.tiny import tiny_model, write_tokenizer

pytestmark = pytest.mark.slow

WAIT_SECONDS = 600
"""For what takes seconds on an idle machine."""
PLUGIN = {
    "ELASTICNAS_PLUGINS": json.dumps(["tests.end_to_end.slow_motion"]),
    "PYTHONPATH": str(Path(__file__).parent.parent.parent),
}
COMMON = {"batch_size": 16, "max_length": 16, "save_every": 1}
EFTNAS = COMMON | {"steps": 4, "teacher_epochs": 1, "calibration_rows": 64}
SETTINGS: dict[str, dict[str, Any]] = {
    "eftnas": EFTNAS,
    "derive": COMMON | {"calibration_rows": 64},
    "flexibert": COMMON
    | {"steps": 4, "teacher_epochs": 1, "calibration_rows": 32, "warm_steps": 4},
    "flexora": COMMON | {"steps": 4, "select_steps": 3, "repeats": 2, "rule": "top", "top": 2},
    "finetune": COMMON | {"steps": 4},
}
"""Few units of each step, each with a save point."""


@dataclass
class Killed:
    """A server with a worker inside, and jobs on it."""

    server: Server
    model: bytes
    dataset: str
    search: str

    def start(self, recipe: str) -> str:
        body = {"dataset_id": self.dataset, "settings": SETTINGS[recipe]}
        if recipe == "finetune":
            path = f"/v1/searches/{self.search}/subnets/1/finetune"
            answer = self.server.client.post(path, json=body)
        else:
            form = {"request": json.dumps({**body, "recipe": recipe})}
            model = {"archive": ("model.tar", self.model)}
            answer = self.server.client.post("/v1/trainings", files=model, data=form)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def read(self, job: str) -> dict[str, Any]:
        return dict(self.server.client.get(f"/v1/jobs/{job}").json())

    def finish(self, job: str) -> dict[str, Any]:
        """The digests of the files that each step has left."""

        def is_over() -> bool:
            return self.read(job)["state"] not in ("queued", "running")

        until(is_over, WAIT_SECONDS, says=self.server.log())
        over = self.read(job)
        assert over["state"] == "completed", over["problem"]
        return {step["name"]: self._left(job, step["name"]) for step in over["steps"]}

    def kill_in(self, job: str, step: str) -> None:
        """kill -9 as soon as this step has something to go on from; then start again."""

        def is_in_the_middle() -> bool:
            (found,) = (each for each in self.read(job)["steps"] if each["name"] == step)
            assert found["state"] != "completed", f"{step} was over before it could be killed"
            return bool(found["saved_at"]) and found["state"] == "running"

        until(is_in_the_middle, WAIT_SECONDS, says=self.server.log())
        self.server.kill()
        self.server.start()

    def _left(self, job: str, step: str) -> dict[str, str]:
        path = f"/v1/jobs/{job}/steps/{step}/product"
        listed = self.server.client.get(path).json()
        return {file["path"]: file["sha256"] for file in listed["files"]}


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killed]:
    folder = tmp_path_factory.mktemp("killed")
    tiny_model("bert").save_pretrained(folder / "model")
    write_tokenizer(folder / "model")
    server = Server(folder / "data", **PLUGIN).start()
    try:
        rows = write_rows(folder / "rows.jsonl")
        supernet, measured = server.register(write_lonas(folder / "checkpoint"), rows)
        search = server.search(supernet, measured, budget={"evaluations": 3})
        assert server.finish(search)["state"] == "completed"
        yield Killed(server, archive_of(folder / "model"), _others(server, folder), search)
    finally:
        server.kill()


def _others(server: Server, folder: Path) -> str:
    """The id of a dataset of other rows than those that the search measures on."""
    file = write_rows(folder / "others.jsonl", count=64)
    form = {"text_columns": "sentence", "label_column": "label", "task": "text-classification"}
    with file.open("rb") as content:
        answer = server.client.post("/v1/datasets", files={"file": content}, data=form)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.mark.parametrize("recipe", SETTINGS)
def test_a_recipe_killed_in_each_of_its_steps_leaves_the_same_products(killed: Killed, recipe: str):
    undisturbed = killed.finish(killed.start(recipe))
    assert list(undisturbed) == list(RECIPES[recipe].steps)
    job = killed.start(recipe)
    for step in RECIPES[recipe].steps:
        killed.kill_in(job, step)
    assert killed.finish(job) == undisturbed
    assert {step["attempt"] for step in killed.read(job)["steps"]} == {2}
