"""Fine-tunings over REST, with a test in the place of the worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from elasticnas.api_schemas.jobs import StepProgress
from elasticnas.api_schemas.messages import RunStep
from elasticnas.service.datasets import repository as datasets
from elasticnas.tasks import TEXT_CLASSIFICATION
from tests.service.jobs.test_endpoints import Hand
from tests.service.running import Running, running_service
from tests.service.stand_in import synthetic_report


@dataclass
class Found(Hand):
    """A search that is over, and other rows for its task."""

    search: dict[str, Any]
    rows: str

    def ask(
        self, number: int = 1, headers: dict[str, str] | None = None, **body: Any
    ) -> httpx2.Response:
        path = f"/v1/searches/{self.search['id']}/subnets/{number}/finetune"
        given = {"dataset_id": self.rows, **body}
        return self.running.client.post(path, json=given, headers=headers)

    def take_of(self, job: dict[str, Any]) -> RunStep:
        """The next message of a job's step; those of other tests' jobs are let go."""
        while (message := self.take()).job_id != job["id"]:
            pass
        return message


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that the tests of this file share."""
    folder = tmp_path_factory.mktemp("finetunings")
    with running_service(f"sqlite:///{folder / 'test.db'}", folder) as running:
        yield running


@pytest.fixture(scope="module")
def found(running: Running) -> Found:
    over = running.wait(running.search(budget={"evaluations": 3}, max_length=32))
    return Found(running, over, running.dataset(rows=6, name="more"))


def test_a_subnet_is_trained_on_and_measured_beside_what_it_was(found: Found):
    answer = found.ask(settings={"steps": 5}, name="mine")
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job['id']}")
    assert (job["kind"], job["recipe"], job["name"]) == ("finetuning", "finetune", "mine")
    assert job["finetuned"] == {"search_id": found.search["id"], "number": 1, "metrics": None}
    assert (job["settings"]["steps"], job["settings"]["max_length"]) == (5, 32)
    first = found.take_of(job)
    assert first.chosen is not None
    evaluation = found.running.get(f"/v1/searches/{found.search['id']}/evaluations/1")
    assert first.chosen.subnet == evaluation["subnet"]
    assert first.chosen.card.metrics == evaluation["metrics"]
    assert first.chosen.card.dataset_name == "toy"
    supernet = found.running.get(f"/v1/supernets/{found.search['supernet_id']}")
    assert first.source == first.chosen.conditions.supernet == supernet["digest"]
    measured = found.running.get(f"/v1/datasets/{found.search['dataset_id']}")
    assert first.chosen.conditions.dataset == measured["digest"]
    assert first.rows.digest == found.running.get(f"/v1/datasets/{found.rows}")["digest"]
    found.report(first, state="completed", **found.output("learnt"))
    second = found.take_of(job)
    assert (second.step, second.chosen) == ("measure", first.chosen)
    scalars = {"accuracy_before": 0.7, "accuracy": 0.75}
    progress = StepProgress(done=3, total=3, scalars=scalars)
    found.report(second, progress=progress, scalars=progress)
    found.report(second, state="completed", **found.output("model"))
    over = found.until(job, "completed")
    assert over["supernet_id"] is None
    assert over["finetuned"]["metrics"] == {"accuracy": {"before": 0.7, "after": 0.75}}
    left = found.running.get(f"/v1/jobs/{job['id']}/steps/measure/product")
    assert [file["path"] for file in left["files"]] == ["base/x"]
    listed = found.running.get("/v1/jobs", kind="finetuning")["items"]
    assert job["id"] in {each["id"] for each in listed}
    assert {each["kind"] for each in listed} == {"finetuning"}


def test_rows_whose_names_of_classes_have_another_order_are_renumbered(
    running: Running, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(running.worker, "report", synthetic_report(2, ("good", "bad")))
    dataset = running.dataset(label_names="good,bad")
    over = running.wait(running.search(dataset_id=dataset, budget={"evaluations": 2}))
    form = {"text_columns": "sentence", "label_column": "label", "task": TEXT_CLASSIFICATION.name}
    text = "".join(json.dumps({"sentence": w, "label": w}) + "\n" for w in ("bad", "good", "bad"))
    posted = running.client.post("/v1/datasets", data=form, files={"file": ("d", text)})
    found = Found(running, over, posted.json()["id"])
    job = found.ask().json()
    message = found.take_of(job)
    assert message.rows.digest not in (posted.json()["digest"], dataset)
    assert message.rows.label_names is None
    database = running.client.app.state.service.database
    with database.read() as session:
        assert message.rows.digest in datasets.digests(session)
    found.running.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert found.running.client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    with database.read() as session:
        assert message.rows.digest not in datasets.digests(session)


def test_the_same_request_with_the_same_key_is_one_job(found: Found):
    key = {"Idempotency-Key": "k"}
    first = found.ask(headers=key)
    assert found.ask(headers=key).json()["id"] == first.json()["id"]
    for other in (found.ask(number=2, headers=key), found.ask(headers=key, name="another")):
        assert (other.status_code, other.json()["type"]) == (409, "/problems/idempotency-conflict")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"settings": {"steps": 0}}, "/settings/steps"),
        ({"settings": {"stepz": 1}}, "/settings/stepz"),
        ({"settings": {"precision": "bfloat16"}}, "/settings"),
        ({"settings": {"task_settings": {"prompt": "{x}"}}}, "/settings/task_settings/prompt"),
        ({"dataset_id": "dataset-x"}, "/dataset_id"),
        ({"colour": "red"}, "/colour"),
    ],
)
def test_what_cannot_be_is_refused_by_field(found: Found, body: dict[str, Any], pointer: str):
    answer = found.ask(**body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_rows_that_the_search_measures_on_are_refused(found: Found):
    own, same = found.search["dataset_id"], found.running.dataset(name="the same rows")
    for dataset in (own, same):
        answer = found.ask(dataset_id=dataset)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/dataset_id"
        assert "measures on these very rows" in answer.json()["detail"]


def test_rows_of_another_task_and_tasks_that_are_only_measured_are_refused(
    found: Found, monkeypatch: pytest.MonkeyPatch
):
    scores = found.running.dataset(task="text-regression")
    answer = found.ask(dataset_id=scores)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/dataset_id")
    assert "the subnet is for text-classification" in answer.json()["detail"]
    monkeypatch.setattr(type(TEXT_CLASSIFICATION), "is_learnt", False)
    assert "no recipe trains on text-classification" in found.ask().json()["detail"]


def test_adapters_of_a_super_network_without_any_are_refused(
    running: Running, monkeypatch: pytest.MonkeyPatch
):
    report = synthetic_report().model_copy(update={"has_adapters": False})
    monkeypatch.setattr(running.worker, "report", report)
    over = running.wait(running.search(budget={"evaluations": 2}))
    found = Found(running, over, running.dataset(rows=6))
    answer = found.ask(settings={"trained": "adapters"})
    assert answer.json()["errors"][0]["pointer"] == "/settings/trained"


def test_a_subnet_that_is_not_measured_has_no_weights_to_train(running: Running):
    running.worker.open.clear()
    search = running.search(max_length=24)  # of which no other search knows an answer
    found = Found(running, {"id": search}, running.dataset(rows=6))
    running.until(lambda: running.get(f"/v1/searches/{search}/evaluations")["items"])
    answer = found.ask(number=0)
    running.worker.open.set()
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/not-completed")
    assert found.ask(number=999).status_code == 404
    found.search = {"id": "search-x"}
    assert found.ask().status_code == 404


def test_the_recipe_is_no_training(found: Found):
    request = {"dataset_id": found.rows, "recipe": "finetune"}
    form = {"request": json.dumps(request)}
    model = {"archive": ("model.tar", b"")}
    answer = found.running.client.post("/v1/trainings", data=form, files=model)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/recipe"
    assert "subnets/{number}/finetune" in answer.json()["detail"]


def test_a_job_goes_on_without_its_search(running: Running):
    over = running.wait(running.search(budget={"evaluations": 2}))
    found = Found(running, over, running.dataset(rows=6))
    job = found.ask().json()
    assert found.running.client.delete(f"/v1/searches/{found.search['id']}").status_code == 204
    assert found.take_of(job).chosen is not None
    assert found.job(job)["finetuned"]["search_id"] == found.search["id"]
