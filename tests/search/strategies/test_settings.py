from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from elasticnas.api_schemas.searches import SearchCreate
from elasticnas.api_schemas.strategies import AnyStrategy

SETTINGS = TypeAdapter(AnyStrategy)
NAMES = ["pareto", "linas", "hill-climbing", "boshnas", "nsga2", "nsga3", "tpe", "gp", "random"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_alone_is_enough_and_a_stranger_setting_is_refused(name):
    assert SETTINGS.validate_python({"name": name}).name == name
    with pytest.raises(ValidationError, match="stranger"):
        SETTINGS.validate_python({"name": name, "stranger": 1})


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "pareto", "exploration": 0.0},
        {"name": "pareto", "exploration": 1.1},
        {"name": "pareto", "initial_design": 0},
        {"name": "pareto", "surrogate": "magic"},
        {"name": "pareto", "priors": {"layer.0.lora.rank": [1, 0]}},
        {"name": "pareto", "priors": {"layer.0.lora.rank": []}},
        {"name": "linas", "population_size": 1},
        {"name": "linas", "generations": 0},
        {"name": "linas", "predictor": "magic"},
        {"name": "hill-climbing", "neighbours": 0},
        {"name": "gp", "n_startup_trials": 0},
        {"name": "nsga2", "crossover": "magic"},
        {"name": "boshnas", "form": "magic"},
        {"name": "boshnas", "embedding": "magic"},
    ],
    ids=str,
)
def test_a_setting_out_of_its_range_is_refused(settings):
    with pytest.raises(ValidationError):
        SETTINGS.validate_python(settings)


@pytest.mark.parametrize(
    "part", [{"proposal": "published"}, {"heteroscedastic": False}, {"student": False}], ids=str
)
def test_what_is_a_part_of_the_repaired_form_is_refused_beside_the_published_one(part):
    assert SETTINGS.validate_python({"name": "boshnas", **part})
    with pytest.raises(ValidationError, match=f"{next(iter(part))} is a part of the repaired form"):
        SETTINGS.validate_python({"name": "boshnas", "form": "published", **part})


def test_pareto_is_the_default():
    assert SearchCreate(supernet_id="s", dataset_id="d").strategy.name == "pareto"
