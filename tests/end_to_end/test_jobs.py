"""Whatever is lost while a job runs, it ends with the very same super-network.

Real processes and real kills, on a private PostgreSQL and a private Redis.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.backing import PostgresServer, RedisServer
from tests.end_to_end.cluster import Cluster, Process, until
from tests.end_to_end.server import Server, write_rows
from tests.event_stream import kept, parse
from tests.supernet.test_reader import write_lonas
from tests.supernet.tiny import tiny_model, write_tokenizer

WAIT_SECONDS = 600
"""For what takes seconds on an idle machine."""
SETTINGS = {"steps": 240, "batch_size": 8, "max_length": 16, "lora_rank": 4, "save_every": 20}
ADDITION = {
    "ELASTICNAS_PLUGINS": json.dumps(["tests.additions.recipe_two_steps"]),
    "PYTHONPATH": str(Path(__file__).parent.parent.parent),
}


def archive_of(folder: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        tar.add(folder, arcname="model")
    return content.getvalue()


@dataclass
class Trainer:
    """A server, and jobs on it."""

    server: Server
    model: bytes
    dataset: str
    logs: Any = lambda: ""

    def start(self, recipe: str = "lonas", **settings: Any) -> str:
        request = {"dataset_id": self.dataset, "recipe": recipe, "settings": SETTINGS | settings}
        answer = self.server.client.post(
            "/v1/trainings",
            files={"archive": ("model.tar", self.model)},
            data={"request": json.dumps(request)},
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def read(self, job: str) -> dict[str, Any]:
        return dict(self.server.client.get(f"/v1/jobs/{job}").json())

    def step(self, job: str) -> dict[str, Any]:
        return dict(self.read(job)["steps"][-1])

    def reach_a_save_point(self, job: str, attempt: int = 1) -> None:
        """Until the step is under way, with something to go on from."""

        def is_there() -> bool:
            step = self.step(job)
            return (
                bool(step["saved_at"])
                and step["attempt"] == attempt
                and step["state"] != "queued"  # the progress may be that of the attempt before
                and step["progress"]["done"] > 0
            )

        until(is_there, WAIT_SECONDS, says=self.logs())
        assert self.step(job)["state"] == "running"

    def finish(self, job: str) -> str:
        """The digest of the super-network that the job made."""
        until(
            lambda: self.read(job)["state"] not in ("queued", "running"),
            WAIT_SECONDS,
            says=self.logs(),
        )
        over = self.read(job)
        assert over["state"] == "completed", (over, self.logs())
        made = self.server.client.get(f"/v1/supernets/{over['supernet_id']}").json()
        assert made["state"] == "ready"
        return str(made["digest"])


@dataclass
class Team(Trainer):
    """The trainer's processes, and what an undisturbed training makes."""

    coordinator: Process | None = None
    worker: Process | None = None
    undisturbed: str = ""


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("jobs")
    redis, postgres = RedisServer(folder).start(), PostgresServer(folder).start()
    cluster = Cluster(folder, postgres.url, redis.url)
    try:
        server = cluster.server()
        coordinator, worker = cluster.coordinator(), cluster.worker()
        _, dataset = server.register(
            write_lonas(folder / "checkpoint"), write_rows(folder / "rows.jsonl")
        )
        tiny_model("bert").save_pretrained(folder / "model")
        write_tokenizer(folder / "model")
        model = archive_of(folder / "model")
        team = Team(server, model, dataset, cluster.logs, coordinator, worker)
        team.undisturbed = team.finish(team.start())
        yield team
    finally:
        cluster.close()
        postgres.stop()
        redis.kill()


@pytest.mark.slow
def test_worker_coordinator_and_server_are_killed_and_the_step_goes_on(team: Team):
    job = team.start()
    team.reach_a_save_point(job)
    team.worker.kill()
    team.worker.start()
    team.reach_a_save_point(job, attempt=2)
    team.coordinator.kill()
    team.server.kill()
    team.server.start()
    team.coordinator.start()
    assert team.finish(job) == team.undisturbed
    assert team.step(job)["attempt"] == 2  # its second worker was there all the time


@pytest.mark.slow
def test_the_worker_is_told_to_stop_and_gives_the_step_back_saved(team: Team):
    job = team.start()
    team.reach_a_save_point(job)
    assert team.worker.stop() == 0
    done = team.step(job)["progress"]["done"]
    until(lambda: team.step(job)["state"] == "queued", WAIT_SECONDS, says=team.logs())
    team.worker.start()
    assert team.finish(job) == team.undisturbed
    path = f"/v1/jobs/{job}/events?last_event_id=0"
    events = kept(parse(team.server.client.get(path).text.splitlines()))
    told = [event.data["done"] for event in events if event.kind == "scalars"]
    assert told == sorted(set(told))  # nothing is told twice, or was done twice after `done`
    assert done <= SETTINGS["steps"]


@pytest.mark.slow
def test_a_cancelled_job_frees_its_worker_and_can_be_retried(team: Team):
    job = team.start()
    team.reach_a_save_point(job)
    answer = team.server.client.post(f"/v1/jobs/{job}/cancel")
    assert answer.json()["state"] == "cancelled"
    other = team.start(steps=20)  # one step at a time: the worker must have ended the first
    team.finish(other)
    assert team.server.client.post(f"/v1/jobs/{job}/retry").status_code == 200
    assert team.finish(job) == team.undisturbed


@pytest.mark.slow
def test_a_worker_that_trains_still_answers(team: Team):
    """An inspection, evaluations and weights, while the step goes on."""
    job = team.start()
    team.reach_a_save_point(job)
    supernet = team.server.register(
        team.server.data_dir.parent / "checkpoint", team.server.data_dir.parent / "rows.jsonl"
    )[0]
    search = team.server.search(supernet, team.dataset, budget={"evaluations": 3})
    assert team.server.finish(search)["state"] == "completed"
    assert team.server.weights(search, 0, "transformers").status_code == 200
    assert team.finish(job) == team.undisturbed


@pytest.mark.slow
def test_a_recipe_of_two_steps_that_a_plugin_brings(tmp_path: Path):
    """With the worker inside the server, which is killed in each of the two steps."""
    tiny_model("bert").save_pretrained(tmp_path / "model")
    write_tokenizer(tmp_path / "model")
    server = Server(tmp_path / "data", **ADDITION)
    server.start()
    try:
        checkpoint = write_lonas(tmp_path / "checkpoint")
        _, dataset = server.register(checkpoint, write_rows(tmp_path / "rows.jsonl"))
        trainer = Trainer(server, archive_of(tmp_path / "model"), dataset, server.log)
        small = {"steps": 200, "times": 6}
        undisturbed = trainer.finish(trainer.start("shaken-lonas", **small))
        job = trainer.start("shaken-lonas", **small)
        trainer.reach_a_save_point(job)
        assert trainer.read(job)["steps"][0]["state"] == "completed"
        server.kill()
        server.start()
        assert trainer.finish(job) == undisturbed
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()
