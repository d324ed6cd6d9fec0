"""Which dimensions decide how good a subnet is."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from elasticnas.api_schemas.spaces import FFN, Dimension
from elasticnas.search.importance import FEWEST, dimension_importance
from elasticnas.search.space import SearchSpace


def space_of(*counts: int) -> SearchSpace:
    return SearchSpace(
        tuple(
            Dimension(
                name=f"layer.{i}.ffn.width",
                part=FFN,
                layer=i,
                choices=tuple(range(count, 0, -1)),
            )
            for i, count in enumerate(counts)
        )
    )


def drawn(space: SearchSpace, count: int = 400) -> list[list[int]]:
    random = np.random.default_rng(0)
    columns = [random.integers(0, n, count) for n in space.cardinalities]
    return np.stack(columns, axis=1).tolist()


def test_what_decides_the_value_comes_first():
    space = space_of(4, 4, 4, 4)
    choices = drawn(space)
    found = dimension_importance(space, choices, [-3.0 * c[2] - 1.0 * c[0] for c in choices])
    assert list(found)[:2] == ["layer.2.ffn.width", "layer.0.ffn.width"]
    assert found["layer.2.ffn.width"] > 0.5
    assert sum(found.values()) == pytest.approx(1.0)


def test_the_same_evaluations_give_the_same_answer():
    space = space_of(3, 5, 2)
    choices = drawn(space, 50)
    values = [float(-sum(c)) for c in choices]
    first = dimension_importance(space, choices, values)
    assert dimension_importance(space, choices, values) == first


def test_a_dimension_without_a_choice_has_no_importance():
    space = space_of(4, 1)
    choices = drawn(space, 40)
    found = dimension_importance(space, choices, [-float(c[0]) for c in choices])
    assert found == {"layer.0.ffn.width": pytest.approx(1.0), "layer.1.ffn.width": 0.0}


def test_nothing_matters_where_everything_is_equal():
    space = space_of(4, 4)
    assert set(dimension_importance(space, drawn(space, 20), [0.5] * 20).values()) == {0.0}


def test_nothing_is_told_where_the_best_tenth_is_all():
    space = space_of(4, 4)
    values = [1.0] + [0.5] * 39
    assert set(dimension_importance(space, drawn(space, 40), values).values()) == {0.0}


def by_optuna(
    space: SearchSpace, choices: list[list[int]], values: list[float]
) -> dict[str, float]:
    """The shares of the same dimensions by Optuna's evaluator."""
    free = [i for i, count in enumerate(space.cardinalities) if count > 1]
    kinds: dict[str, BaseDistribution] = {
        space.dimensions[i].name: IntDistribution(0, space.cardinalities[i] - 1)
        if space.dimensions[i].ordered
        else CategoricalDistribution(range(space.cardinalities[i]))
        for i in free
    }
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            create_trial(
                params={space.dimensions[i].name: encoded[i] for i in free},
                distributions=dict(kinds),
                value=value,
            )
            for encoded, value in zip(choices, values, strict=True)
        ]
    )
    return get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())


@pytest.mark.parametrize("count", [10, 37, 300])
def test_the_shares_are_those_of_optuna(count: int):
    ordered = space_of(2, 3, 5, 12, 70, 1).dimensions
    named = tuple(
        Dimension(
            name=f"operation.{n}",
            part="operation",
            choices=tuple("abcdefg"[:n]),
            ordered=False,
        )
        for n in (2, 5)
    )
    space = SearchSpace((*ordered, *named))
    choices = drawn(space, count)
    random = np.random.default_rng(1)
    values = [
        -c[3] - 0.1 * c[4] + 2.0 * (c[6] == 1) + (c[7] in (2, 3)) + random.normal(0, 0.5)
        for c in choices
    ]
    rounded = [round(value) for value in values]  # with ties about the last of the best tenth
    for measured in (values, rounded):
        found = dimension_importance(space, choices, measured)
        for name, share in by_optuna(space, choices, measured).items():
            assert found[name] == pytest.approx(share, rel=1e-6, abs=1e-9)


def test_too_few_evaluations_are_refused():
    space = space_of(4, 4)
    with pytest.raises(ValueError, match="found 9"):
        dimension_importance(space, drawn(space, FEWEST - 1), [0.5] * (FEWEST - 1))
