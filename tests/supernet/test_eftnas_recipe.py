"""EFTNAS's recipe in its other modes: the contract holds whatever is chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elasticnas.api_schemas.eftnas_training import EftnasSettings
from elasticnas.supernet.contracts.recipes import (
    Trial,
    a_step_that_must_stop_saves_and_goes_on_to_the_same_result,
    every_step_tells_how_far_it_is,
    the_result_is_a_super_network,
)
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.tasks import TASKS, TEXT_CLASSIFICATION, TEXT_REGRESSION
from elasticnas.tasks.rows import Rows
from tests.supernet.tiny import sentences, tiny_model, write_tokenizer

pytestmark = pytest.mark.slow

SMALL = {"steps": 3, "batch_size": 8, "max_length": 16, "save_every": 2, "teacher_epochs": 1}
PARITY = {"importance": "movement", "start": "pretrained"}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("eftnas") / "encoder"
    tiny_model("bert").save_pretrained(folder)
    write_tokenizer(folder)
    return folder


def _classes() -> TrainingData:
    texts = sentences(32, seed=5)
    labels = np.array([int("good" in text) for text in texts])
    return TrainingData(Rows({"text": texts}, labels), TEXT_CLASSIFICATION, 2)


def _values() -> TrainingData:
    texts = sentences(32, seed=5)
    labels = np.array([float(len(text)) for text in texts])
    return TrainingData(Rows({"text": texts}, labels), TEXT_REGRESSION, 1)


def _questions() -> TrainingData:
    texts = sentences(32, seed=5)
    answers = np.array([f'["{text.split()[-1]}"]' for text in texts], dtype=object)
    rows = Rows({"question": ["which is last"] * 32, "context": texts}, answers)
    return TrainingData(rows, TASKS["question-answering"], 0)


@pytest.mark.parametrize("changed", [PARITY, {"importance": "taylor"}])
def test_each_mode_goes_on_to_the_same_result(
    changed: dict[str, Any], encoder: Path, tmp_path: Path
):
    settings = EftnasSettings.model_validate(SMALL | changed)
    trial = Trial("eftnas", settings, encoder, _classes())
    a_step_that_must_stop_saves_and_goes_on_to_the_same_result(trial, tmp_path)


@pytest.mark.parametrize("data", [_values, _questions], ids=["regression", "spans"])
def test_other_tasks_end_with_a_super_network(data, encoder: Path, tmp_path: Path):
    settings = EftnasSettings.model_validate(SMALL | {"max_length": 48})
    the_result_is_a_super_network(Trial("eftnas", settings, encoder, data()), tmp_path)


def test_norms_of_weights_are_told_as_one_unit(encoder: Path, tmp_path: Path):
    settings = EftnasSettings.model_validate(SMALL | {"importance": "magnitude"})
    every_step_tells_how_far_it_is(Trial("eftnas", settings, encoder, _classes()), tmp_path)


def test_a_target_that_leaves_hardly_anything_of_a_half_skips_it(encoder: Path, tmp_path: Path):
    settings = EftnasSettings.model_validate(SMALL | {"targets": [0.8, 0.1]})
    the_result_is_a_super_network(Trial("eftnas", settings, encoder, _classes()), tmp_path)
    targets = json.loads(next(tmp_path.rglob("targets.json")).read_text())
    assert any(each["skipped"] for each in targets)
    spaces = [json.loads(file.read_text()) for file in tmp_path.rglob("search_space.json")]
    parts = {dimension["part"] for space in spaces for dimension in space["dimensions"]}
    assert "blocks" in parts
