"""What a server says of itself is what it does."""

from __future__ import annotations

import jsonschema
import pytest
from pydantic import TypeAdapter

from elasticnas.api_schemas.meta import Meta
from elasticnas.api_schemas.recipes import RECIPES
from elasticnas.api_schemas.searches import SearchCreate
from elasticnas.api_schemas.strategies import STRATEGIES, StrategySettings
from elasticnas.service.meta.description import describe
from elasticnas.service.settings import ServiceSettings
from elasticnas.tasks import TASKS
from tests.service.running import Running


@pytest.fixture(scope="module")
def meta() -> Meta:
    return describe(ServiceSettings())


def test_the_answer_is_the_description(light_service: Running):
    said = light_service.get("/v1/meta")
    assert said == describe(light_service.settings).model_dump(mode="json")
    assert said["limits"]["max_json_bytes"] == light_service.settings.max_json_bytes
    assert said["sources"] == {"paths": False, "hub": False}


def test_every_metric_says_which_way_is_better(meta: Meta):
    found = {task.name: {m.name: m for m in task.metrics} for task in meta.tasks}
    assert set(found) == set(TASKS)
    assert found["text-classification"]["accuracy"].model_dump() == {
        "name": "accuracy",
        "better": "larger",
        "ideal": 1.0,
        "worst": 0.0,
        "bound": "min_accuracy",
    }
    perplexity = found["perplexity"]["word_perplexity"]
    assert (perplexity.better, perplexity.bound) == ("smaller", "max_word_perplexity")
    assert perplexity.ideal < perplexity.worst
    assert [t.name for t in meta.tasks if t.raced] == [t.name for t in TASKS.values() if t.raced]


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_a_form_made_of_a_strategys_schema_sends_what_the_server_takes(meta: Meta, name: str):
    """The defaults of the schema are the settings' own; a value beyond a bound breaks both."""
    schema = next(each.settings for each in meta.strategies if each.name == name)
    filled = {key: each["default"] for key, each in schema["properties"].items()}
    jsonschema.validate(filled, schema)
    settings: TypeAdapter[StrategySettings] = TypeAdapter(STRATEGIES[name])
    assert settings.validate_python(filled) == settings.validate_python({"name": name})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**filled, "nose": 1}, schema)


def test_one_strategy_is_what_a_search_without_one_gets(meta: Meta):
    [default] = [each.name for each in meta.strategies if each.is_default]
    assert SearchCreate(supernet_id="s", dataset_id="d").strategy.name == default


def test_a_strategy_whose_package_is_missing_says_so(monkeypatch):
    monkeypatch.setattr(STRATEGIES["gp"], "packages", ("torch", "no_such_package"))
    found = {each.name: each.missing for each in describe(ServiceSettings()).strategies}
    assert found["gp"] == ["no_such_package"]
    assert found["pareto"] == []


def test_recipes_have_their_steps_and_settings(meta: Meta):
    found = {each.name: each for each in meta.recipes}
    assert set(found) == set(RECIPES)
    assert found["shears"].steps == ["sparsify", "train"]
    assert "epochs" in found["shears"].settings["properties"]


def test_limits_are_those_that_requests_meet(light_service: Running, meta: Meta):
    """One more than the published limit is refused, by the field's name."""
    body = {"supernet_id": "s", "dataset_id": "d"}
    bounds = {"cost": "gflops", "max": 1.0}
    for field, value in (
        ("budget/evaluations", {"budget": {"evaluations": meta.limits.max_evaluations + 1}}),
        ("constraints", {"constraints": [bounds] * (meta.limits.max_constraints + 1)}),
        (
            "parallel_evaluations",
            {"parallel_evaluations": meta.limits.max_parallel_evaluations + 1},
        ),
        ("name", {"name": "n" * (meta.limits.max_name + 1)}),
    ):
        answer = light_service.client.post("/v1/searches", json={**body, **value})
        assert answer.status_code == 422
        assert [e["pointer"] for e in answer.json()["errors"]] == [f"/{field}"], answer.text
    answer = light_service.client.get("/v1/searches", params={"limit": meta.limits.max_page + 1})
    assert answer.status_code == 422
