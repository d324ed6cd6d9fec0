"""Jobs over REST, with a test in the place of the worker."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from elasticnas.api_schemas.jobs import StepProgress
from elasticnas.api_schemas.manifests import store_folder
from elasticnas.api_schemas.messages import RunStep, StepReported
from elasticnas.api_schemas.recipes import RECIPES, Recipe
from elasticnas.api_schemas.training import TrainingSettings
from elasticnas.service.http.problems import problem
from elasticnas.service.jobs import repository
from elasticnas.tasks import TEXT_CLASSIFICATION
from tests.event_stream import kept, parse
from tests.service.running import Running, running_service, tar_of

TWO = "two-for-the-service"
if TWO not in RECIPES:
    RECIPES.register(TWO, Recipe(TrainingSettings, {"first": "nowhere:a", "second": "nowhere:b"}))
MODEL = {"archive": ("model.tar", tar_of({"config.json": "{}"}))}


@dataclass
class Hand:
    """Takes the messages of steps and reports, as a worker would."""

    running: Running

    def start(self, **request: Any) -> dict[str, Any]:
        """Start a training."""
        request = {"dataset_id": self.running.dataset(), "recipe": TWO, **request}
        answer = self.running.client.post(
            "/v1/trainings", files=MODEL, data={"request": json.dumps(request)}
        )
        assert answer.status_code == 202, answer.text
        return answer.json()

    def take(self) -> RunStep:
        """The next message of a step."""
        queue = self.running.worker._broker.queues[RunStep.queue]
        self.running.until(lambda: not queue.empty())
        return RunStep.model_validate_json(json.loads(queue.get())["args"][0])

    def report(self, message: RunStep, **news: Any) -> None:
        """Say something of a step."""
        self.running.worker.send(
            StepReported(
                job_id=message.job_id,
                position=message.position,
                attempt=message.attempt,
                worker="hand",
                **news,
            )
        )

    def output(self, content: str) -> dict[str, Any]:
        """What a step leaves."""
        folder = self.running.settings.data_dir / "made"
        (folder / "base").mkdir(parents=True, exist_ok=True)
        (folder / "base" / "x").write_text(content)
        blobs = self.running.client.app.state.service.blobs
        digest, manifest = store_folder(blobs, folder)
        return {"output": digest, "size_bytes": manifest.size}

    def job(self, job: dict[str, Any]) -> dict[str, Any]:
        return self.running.get(f"/v1/jobs/{job['id']}")

    def until(self, job: dict[str, Any], state: str) -> dict[str, Any]:
        self.running.until(lambda: self.job(job)["state"] == state)
        return self.job(job)

    def events(self, job: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        """All that is kept of a job that is over."""
        path = f"/v1/jobs/{job['id']}/events?last_event_id=0"
        lines = self.running.client.get(path).text.splitlines()
        return [(event.kind, event.data) for event in kept(parse(lines))]


@pytest.fixture
def hand(service: Running) -> Hand:
    return Hand(service)


@pytest.fixture
def light_hand(light_service: Running) -> Hand:
    return Hand(light_service)


def test_each_step_gets_what_the_one_before_left_and_the_last_is_registered(hand: Hand):
    job = hand.start(name="mine", settings={"steps": 5})
    assert (job["state"], job["kind"], job["settings"]["steps"]) == ("queued", "training", 5)
    first = hand.take()
    assert (first.step, first.position, first.attempt, first.saved) == ("first", 0, 1, None)
    progress = StepProgress(done=2, total=5, scalars={"loss": 0.5})
    hand.report(first, progress=progress, scalars=progress)
    hand.running.until(lambda: hand.job(job)["steps"][0]["progress"]["done"] == 2)
    assert hand.job(job)["state"] == "running"
    hand.report(first, state="completed", **hand.output("one"))
    second = hand.take()
    assert (second.step, second.source) == ("second", hand.output("one")["output"])
    hand.report(second, state="completed", **hand.output("two"))
    over = hand.until(job, "completed")
    made = hand.running.get(f"/v1/supernets/{over['supernet_id']}")
    assert (made["name"], made["state"]) == ("mine", "ready")
    assert made["digest"] == hand.output("two")["output"]
    assert [each["id"] for each in hand.running.get("/v1/jobs")["items"]] == [job["id"]]
    told = hand.events(job)
    assert [data["state"] for kind, data in told if kind == "state"][-1] == "completed"
    assert [data for kind, data in told if kind == "scalars"] == [
        {"step": "first", "done": 2, "scalars": {"loss": 0.5}}
    ]


def test_what_a_step_has_left_is_downloaded_until_its_job_is_deleted(
    light_hand: Hand,
):
    job = light_hand.start()
    client = light_hand.running.client
    address = f"/v1/jobs/{job['id']}/steps/first/product"
    first = light_hand.take()
    too_early = client.get(address)
    assert (too_early.status_code, too_early.json()["type"]) == (
        409,
        "/problems/step-not-completed",
    )
    light_hand.report(first, state="completed", **light_hand.output("one"))
    second = light_hand.take()
    listed = light_hand.running.get(address)
    assert [file["path"] for file in listed["files"]] == ["base/x"]
    assert listed["size_bytes"] == 3
    digest = listed["files"][0]["sha256"]
    file = client.get(f"{address}/base/x", headers={"Range": "bytes=1-"})
    assert (file.status_code, file.content, file.headers["etag"]) == (206, b"ne", f'"{digest}"')
    unchanged = client.get(f"{address}/base/x", headers={"If-None-Match": f'"{digest}"'})
    assert unchanged.status_code == 304
    for path in (f"{address}/base/y", address.replace("first", "third")):
        assert client.get(path).status_code == 404
    light_hand.report(second, state="completed", **light_hand.output("two"))
    light_hand.until(job, "completed")
    database = light_hand.running.client.app.state.service.database
    with database.read() as session:
        assert first.source not in repository.manifests(session)
        assert second.source in repository.manifests(session)
    assert client.get(f"{address}/base/x").content == b"one"


def test_no_recipe_trains_on_a_task_that_is_only_measured(
    light_hand: Hand, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(type(TEXT_CLASSIFICATION), "is_learnt", False)
    answer = light_hand.running.client.post(
        "/v1/trainings",
        files=MODEL,
        data={"request": json.dumps({"recipe": TWO, "dataset_id": light_hand.running.dataset()})},
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/dataset_id"


def test_a_step_that_is_given_back_goes_on_from_its_save_point(hand: Hand):
    job = hand.start()
    first = hand.take()
    saved = hand.output("saved")["output"]
    hand.report(first, saved=saved)
    hand.report(first, state="given_back")
    again = hand.take()
    assert (again.attempt, again.saved) == (2, saved)
    hand.report(first, state="failed", problem=problem("step-failed", "late"))
    hand.report(again)
    hand.running.until(lambda: hand.job(job)["steps"][0]["state"] == "running")
    assert hand.job(job)["problem"] is None  # of an attempt that does not count
    signals = hand.running.worker._signals
    hand.running.until(lambda: signals.halted(first.key) == "ended")
    assert signals.halted(again.key) is None


def test_a_step_over_which_three_workers_die_fails_and_can_be_retried(light_hand: Hand):
    job = light_hand.start()
    for attempt in (1, 2, 3):
        message = light_hand.take()
        assert message.attempt == attempt
        light_hand.report(message, state="died", problem=problem("step-failed", "SIGKILL"))
    failed = light_hand.until(job, "failed")
    assert failed["problem"]["detail"] == "SIGKILL"
    light_hand.running.client.post(f"/v1/jobs/{job['id']}/retry")
    assert light_hand.job(job)["problem"] is None
    assert light_hand.take().attempt == 4


@pytest.mark.slow
def test_a_save_point_between_deaths_counts_them_anew(light_hand: Hand):
    job = light_hand.start()
    for number in range(5):
        message = light_hand.take()
        light_hand.report(message, saved=light_hand.output(str(number))["output"])
        light_hand.report(message, state="died", problem=problem("step-failed", "SIGKILL"))
    assert light_hand.take().saved == light_hand.output("4")["output"]
    assert light_hand.job(job)["state"] == "running"


def test_a_cancelled_job_tells_its_worker_and_drops_what_it_says(light_hand: Hand):
    job = light_hand.start()
    message = light_hand.take()
    light_hand.report(message)
    light_hand.until(job, "running")
    path = f"/v1/jobs/{job['id']}"
    assert light_hand.running.client.delete(path).status_code == 409
    for _ in range(2):
        answer = light_hand.running.client.post(f"{path}/cancel")
        assert answer.json()["state"] == "cancelled"
    assert light_hand.running.worker._signals.halted(message.key) == "ended"
    light_hand.report(message, state="completed", **light_hand.output("late"))
    assert light_hand.running.client.post(f"{path}/retry").json()["state"] == "queued"
    again = light_hand.take()
    assert again.attempt == 2
    light_hand.running.client.post(f"{path}/cancel")
    assert light_hand.running.client.delete(path).status_code == 204
    assert light_hand.running.client.get(path).status_code == 404


def test_a_job_whose_super_network_cannot_be_read_fails_with_that_problem(light_hand: Hand):
    light_hand.running.worker.rejection = problem("invalid-checkpoint", "no config.json")
    job = light_hand.start()
    for content in ("one", "two"):
        light_hand.report(light_hand.take(), state="completed", **light_hand.output(content))
    assert light_hand.until(job, "failed")["problem"]["detail"] == "no config.json"


def test_what_was_sent_before_a_restart_is_sent_again(database_url, tmp_path):
    with running_service(database_url, tmp_path) as running:
        hand = Hand(running)
        job = hand.start()
        message = hand.take()
        hand.report(message, saved=hand.output("saved")["output"])
        hand.until(job, "running")
    with running_service(database_url, tmp_path) as running:
        hand = Hand(running)
        again = hand.take()
        assert (again.attempt, again.saved) == (2, hand.output("saved")["output"])
        hand.report(message, state="completed", **hand.output("late"))
        hand.report(again)
        running.until(lambda: hand.job(job)["steps"][0]["state"] == "running")


def test_jobs_are_listed_newest_first_by_state_and_kind(light_hand: Hand):
    jobs = [light_hand.start() for _ in range(3)]
    light_hand.running.client.post(f"/v1/jobs/{jobs[1]['id']}/cancel")

    def listed(**query: str) -> list[str]:
        return [item["id"] for item in light_hand.running.get("/v1/jobs", **query)["items"]]

    newest_first = [job["id"] for job in reversed(jobs)]
    assert listed() == listed(kind="training") == newest_first
    assert listed(state="cancelled") == [jobs[1]["id"]]
    page = light_hand.running.get("/v1/jobs", limit=2)
    assert [job["id"] for job in page["items"]] == newest_first[:2]
    assert listed(cursor=page["next_cursor"]) == newest_first[2:]


@pytest.mark.parametrize(
    ("request_", "pointer"),
    [
        ({"recipe": "nothing"}, "/recipe"),
        ({"settings": {"steps": 0}}, "/settings/steps"),
        ({"settings": {"stepz": 1}}, "/settings/stepz"),
        ({"settings": {"task_settings": {"prompt": "{x}"}}}, "/settings/task_settings/prompt"),
        ({"recipe": "shears", "settings": {"ranks": [8, 4]}}, "/settings"),
        ({"dataset_id": "dataset-x"}, "/dataset_id"),
        ({"recipe": "shears", "method": "lonas"}, "/method"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_a_training_that_cannot_be_is_refused_by_field(light_hand: Hand, request_, pointer):
    asked = {"dataset_id": light_hand.running.dataset(), **request_}
    answer = light_hand.running.client.post(
        "/v1/trainings", files=MODEL, data={"request": json.dumps(asked)}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_an_archive_that_is_no_model_is_refused_at_once(light_hand: Hand):
    """Not by a worker, once the job is queued and the archive stored."""
    asked = {"dataset_id": light_hand.running.dataset(), "recipe": TWO}
    model = {"archive": ("model.tar", tar_of({"base/config.json": "{}"}))}
    answer = light_hand.running.client.post(
        "/v1/trainings", files=model, data={"request": json.dumps(asked)}
    )
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["pointer"], error["value"]) == ("/config.json", "base")


def test_the_prompt_is_the_requests_else_that_of_the_dataset(light_hand: Hand):
    form = {
        **{"task": "multiple-choice", "text_columns": "q", "choices_column": "c"},
        **{"label_column": "a", "task_settings": '{"prompt": "Q: {q}"}'},
    }
    row = json.dumps({"q": "x", "c": ["a", "b"], "a": 1})
    posted = light_hand.running.client.post("/v1/datasets", data=form, files={"file": ("d", row)})
    dataset = posted.json()["id"]
    job = light_hand.start(dataset_id=dataset)
    assert job["settings"]["task_settings"] == {"prompt": "Q: {q}"}
    settings = {"task_settings": {"prompt": "{q}?", "add_bos": False}}
    job = light_hand.start(dataset_id=dataset, settings=settings)
    assert job["settings"]["task_settings"] == settings["task_settings"]
    asked = {"dataset_id": dataset, "settings": {"task_settings": {"prompt": "{title}"}}}
    answer = light_hand.running.client.post(
        "/v1/trainings", files=MODEL, data={"request": json.dumps(asked)}
    )
    assert answer.json()["errors"][0]["pointer"] == "/settings/task_settings/prompt"


def test_the_same_training_with_the_same_key_is_one_job(light_hand: Hand):
    asked = {"dataset_id": light_hand.running.dataset(), "recipe": TWO}

    def send(model: dict[str, Any] = MODEL, **changes: Any) -> Any:
        answer = light_hand.running.client.post(
            "/v1/trainings",
            files=model,
            data={"request": json.dumps(asked | changes)},
            headers={"Idempotency-Key": "k"},
        )
        return answer.status_code, answer.json().get("id", answer.json().get("type"))

    first = send()
    assert first[0] == 202
    assert send() == first
    other_model = {"archive": ("model.tar", tar_of({"config.json": "{ }"}))}
    conflict = (409, "/problems/idempotency-conflict")
    assert send(name="another") == send(model=other_model) == conflict
    assert [job["id"] for job in light_hand.running.get("/v1/jobs")["items"]] == [first[1]]


def test_a_dataset_that_a_job_refers_to_stays(light_hand: Hand):
    job = light_hand.start()
    answer = light_hand.running.client.delete(f"/v1/datasets/{job['dataset_id']}")
    assert answer.status_code == 409
    assert job["id"] in answer.json()["detail"]


def test_a_recipe_is_also_asked_for_as_its_method(light_hand: Hand):
    asked = {"dataset_id": light_hand.running.dataset(), "method": "shears"}
    answer = light_hand.running.client.post(
        "/v1/trainings", files=MODEL, data={"request": json.dumps(asked)}
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["recipe"] == "shears"


def test_a_derivation_is_the_job_of_its_recipe(light_hand: Hand):
    post = light_hand.running.client.post
    asked = {"dataset_id": light_hand.running.dataset(), "settings": {"dropped_blocks": 2}}
    answer = post(
        "/v1/supernets/derive", files=MODEL, data={"request": json.dumps(asked | {"name": "x"})}
    )
    assert answer.status_code == 202, answer.text
    job = answer.json()
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["kind"], job["recipe"], job["name"]) == ("training", "derive", "x")
    assert [step["name"] for step in job["steps"]] == ["derive"]
    assert job["settings"]["dropped_blocks"] == 2
    assert job["settings"]["importance"] == "fisher"
    for odd in ({"recipe": "lonas"}, {"settings": {"lora_rank": 8}}):
        refused = post(
            "/v1/supernets/derive", files=MODEL, data={"request": json.dumps(asked | odd)}
        )
        assert refused.status_code == 422, refused.text
