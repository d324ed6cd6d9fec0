"""Every recipe keeps the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from elasticnas.api_schemas.jobs import JobKind
from elasticnas.api_schemas.recipes import RECIPES
from elasticnas.supernet.contracts.recipes import CHECKS, Trial
from elasticnas.supernet.families import FAMILIES
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.tasks.rows import Rows
from tests.additions import recipe_two_steps
from tests.supernet.languages import questions, write_language_model
from tests.supernet.tiny import sentences, tiny_model, write_tokenizer

SMALL = {"steps": 4, "batch_size": 8, "max_length": 16, "lora_rank": 4, "save_every": 2}
WHOLE = {name: value for name, value in SMALL.items() if name != "lora_rank"}
"""Settings of a recipe without adapters."""
UNTRAINED = {"batch_size": 8, "max_length": 16, "calibration_rows": 20, "save_every": 2}
"""Settings of a recipe that has no steps of an optimiser."""
RECIPES_TRIED = {
    "derive": {"dropped_halves": 2, "targets": (0.7,), "refit": True},
    "eftnas": {"teacher_epochs": 1, "calibration_rows": 32},
    "flexora": {"repeats": 2, "select_steps": 2, "rule": "top", "top": 2, "outer_batch_size": 6},
    "flexibert": {
        "teacher_epochs": 1,
        "calibration_rows": 9,
        "warm_steps": 3,
        "one_hidden": False,
        "ffn_layers": 3,
        "whole_students": 1,
        "hidden_weight": 1.0,
    },
    "lonas": {},
    "shears": {"adapted": ("query", "ffn_in"), "calibration_rows": 9},
    "shaken-lonas": {"times": 3},
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipes") / "encoder"
    tiny_model("bert").save_pretrained(folder)
    write_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_language_model(tmp_path_factory.mktemp("recipes"), FAMILIES["llama"])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("recipe", RECIPES_TRIED)
def test_a_recipe_keeps_the_contract(recipe: str, check, encoder: Path, tmp_path: Path):
    texts = sentences(32, seed=5)
    rows = Rows({"text": texts}, np.array([int("good" in text) for text in texts]))
    small = {"derive": UNTRAINED, "flexibert": WHOLE, "eftnas": WHOLE}.get(recipe, SMALL)
    settings = RECIPES[recipe].settings.model_validate(small | RECIPES_TRIED[recipe])
    check(Trial(recipe, settings, encoder, TrainingData(rows, TEXT_CLASSIFICATION, 2)), tmp_path)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("recipe", ["derive", "lonas", "shears"])
def test_a_recipe_keeps_the_contract_on_a_language_model(
    recipe: str, check, language_model: Path, tmp_path: Path
):
    small = UNTRAINED if recipe == "derive" else SMALL
    settings = RECIPES[recipe].settings.model_validate(small | {"loss_on": "text"})
    check(Trial(recipe, settings, language_model, questions()), tmp_path)


def test_every_recipe_is_tried():
    """Those that begin with a subnet have tests of their own."""
    mine = {name for name in RECIPES if RECIPES[name].kind is JobKind.TRAINING}
    mine -= {"two-for-the-service"}
    assert mine == set(RECIPES_TRIED)
    assert RECIPES["shaken-lonas"].settings is recipe_two_steps.ShakenSettings
