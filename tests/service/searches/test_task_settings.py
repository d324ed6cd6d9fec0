"""What a search says of its task is checked against super-network and data before any work."""

from __future__ import annotations

import json
from typing import Any

import pytest

from elasticnas.api_schemas.supernets import HeadKind
from tests.service.running import Running
from tests.service.stand_in import synthetic_report


def choices(running: Running, *, column: str = "question", **fields: str) -> str:
    """The id of a newly registered dataset of multiple choice."""
    rows = [{column: f"row {i}", "choices": ["up", "down"], "label": i % 2} for i in range(6)]
    form = {
        "task": "multiple-choice",
        "text_columns": column,
        "choices_column": "choices",
        "label_column": "label",
        **fields,
    }
    content = "".join(json.dumps(row) + "\n" for row in rows)
    answer = running.client.post("/v1/datasets", data=form, files={"file": ("d", content)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def refused(running: Running, **fields: Any) -> dict[str, Any]:
    answer = running.client.post("/v1/searches", json=running.body(**fields))
    assert answer.status_code == 422, answer.text
    error: dict[str, Any] = answer.json()["errors"][0]
    return error


@pytest.fixture
def causal(light_service: Running) -> Running:
    """A service whose super-networks are language models."""
    report = synthetic_report(num_labels=4096)
    light_service.worker.report = report.model_copy(update={"head": HeadKind.CAUSAL_LM})
    return light_service


def test_a_classifier_does_no_multiple_choice(light_service: Running):
    error = refused(light_service, dataset_id=choices(light_service))
    assert error["pointer"] == "/dataset_id"
    assert "classes or a value" in error["detail"]


def test_a_language_model_does_no_text_classification(causal: Running):
    assert refused(causal, dataset_id=causal.dataset())["pointer"] == "/dataset_id"


def test_a_task_without_settings_takes_none(light_service: Running):
    error = refused(light_service, task_settings={"prompt": "{sentence}"})
    assert error["pointer"] == "/task_settings/prompt"


def test_the_other_dataset_must_have_the_columns_of_the_prompt(causal: Running):
    error = refused(
        causal,
        dataset_id=choices(causal),
        verify_dataset_id=choices(causal, column="premise"),
        task_settings={"prompt": "Q: {question}"},
    )
    assert (error["pointer"], error["value"]) == ("/verify_dataset_id", "{question}")
    assert "task_settings/prompt" in error["detail"]


def test_settings_of_a_dataset_are_replaced_one_by_one(causal: Running):
    given = {"prompt": "Q: {question}", "add_bos": False}
    dataset = choices(causal, task_settings=json.dumps(given))
    body = causal.body(dataset_id=dataset, task_settings={"add_bos": True})
    created = causal.client.post("/v1/searches", json=body)
    assert created.status_code == 201, created.text
    assert created.json()["task_settings"] == {"prompt": "Q: {question}", "add_bos": True}
    assert created.json()["objectives"] == ["acc", "gflops"]
