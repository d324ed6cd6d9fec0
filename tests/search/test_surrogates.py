from __future__ import annotations

import numpy as np
import pytest

from elasticnas.api_schemas.spaces import (
    BLOCKS,
    FFN,
    HEADS,
    OPERATION,
    RANK,
    Condition,
    Dimension,
)
from elasticnas.search import evolution
from elasticnas.search.space import SearchSpace
from elasticnas.search.surrogates import Posterior, make_surrogate
from elasticnas.search.surrogates.features import Encoding
from elasticnas.search.surrogates.subsample import spread_and_latest

SPACE = SearchSpace(
    tuple(
        Dimension(name=f"{part}.{i}", part=part, layer=i, choices=choices)
        for i in range(8)
        for part, choices in (
            (HEADS, (12, 9, 6)),
            (FFN, (1536, 1152, 768, 384)),
        )
    )
)
CARDS = np.array(SPACE.cardinalities)
CHOICES = evolution.Choices.of(SPACE)
NOISE = 0.01
EFFECTS = np.random.default_rng(1).gamma(1.0, 0.02, len(CARDS))


def truth(indices: np.ndarray) -> np.ndarray:
    cut = indices / (CARDS - 1)
    return 0.2 + (cut**1.5) @ EFFECTS + 0.1 * cut[:, 0] * cut[:, 1]


def learned(name, count: int = 80) -> Posterior:
    rng = np.random.default_rng(2)
    subnets = evolution.random_subnets(count, CHOICES, rng)
    losses = truth(subnets) + rng.normal(0, NOISE, count)
    surrogate = make_surrogate(name, SPACE)
    tuned = surrogate.tune(subnets, losses, NOISE**2)
    return surrogate.condition(tuned, subnets, losses, NOISE**2)


@pytest.mark.parametrize("name", ["average", "bayesian_linear", "gaussian_process", "trees"])
class TestEverySurrogate:
    def test_predicts_unseen_subnets_far_better_than_their_mean(self, name):
        asked = evolution.random_subnets(300, CHOICES, np.random.default_rng(3))
        mean, _ = learned(name).marginal(asked)
        error = np.sqrt(np.mean((mean - truth(asked)) ** 2))
        assert error < 0.6 * np.std(truth(asked))

    def test_a_joint_belief_agrees_with_the_marginal_ones(self, name):
        asked = evolution.random_subnets(20, CHOICES, np.random.default_rng(4))
        belief = learned(name)
        mean, std = belief.marginal(asked)
        joint_mean, covariance = belief.joint(asked)
        assert joint_mean == pytest.approx(mean, abs=1e-6)
        assert np.sqrt(np.diag(covariance)) == pytest.approx(std, rel=1e-3, abs=1e-6)

    def test_learns_from_constant_measurements_that_all_are_alike(self, name):
        rng = np.random.default_rng(5)
        subnets = evolution.random_subnets(12, CHOICES, rng)
        surrogate = make_surrogate(name, SPACE)
        tuned = surrogate.tune(subnets, np.full(12, 0.3), NOISE**2)
        belief = surrogate.condition(tuned, subnets, np.full(12, 0.3), NOISE**2)
        assert belief.marginal(subnets)[0] == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("name", ["average", "gaussian_process"])
def test_the_predicted_errors_are_those_that_are_made(name):
    asked = evolution.random_subnets(400, CHOICES, np.random.default_rng(6))
    mean, std = learned(name).marginal(asked)
    assert 0.6 < np.sqrt(np.mean(((mean - truth(asked)) / std) ** 2)) < 1.6


def test_more_measurements_leave_less_doubt():
    asked = evolution.random_subnets(50, CHOICES, np.random.default_rng(7))
    few, many = (learned("average", count).marginal(asked)[1].mean() for count in (40, 200))
    assert many < few


def test_a_gaussian_process_takes_no_more_noise_than_the_validation_set_explains():
    assert learned("gaussian_process").noise <= 1.01 * NOISE**2


def test_a_space_without_a_choice_still_has_features():
    single = SearchSpace((Dimension(name="r", part=RANK, choices=(8,)),))
    assert Encoding(single).all(np.zeros((3, 1), dtype=np.intp)).shape[0] == 3


def test_what_is_kept_of_many_measurements_is_the_latest_and_some_of_all_the_others():
    kept = spread_and_latest(1000, 100)
    assert len(set(kept.tolist())) == 100
    assert kept[0] == 0
    assert kept[25:].tolist() == list(range(925, 1000))
    assert np.diff(kept).max() < 50


def test_everything_is_kept_of_few_measurements():
    assert spread_and_latest(7, 100).tolist() == list(range(7))


def test_choices_without_an_order_are_equally_far_from_each_other():
    names = Dimension(name="o", part="operation", choices=("a", "b", "c"), ordered=False)
    columns = Encoding(SearchSpace((names,))).own(np.array([[0], [1], [2]]))
    gaps = np.linalg.norm(columns[:, None] - columns[None, :], axis=2)
    np.testing.assert_allclose(gaps, 1.0 - np.eye(3))
    np.testing.assert_allclose(columns.sum(axis=0), 0.0, atol=1e-12)


UNORDERED = SearchSpace(
    tuple(
        Dimension(name=f"op.{i}", part=OPERATION, layer=i, choices=("a", "b", "c"), ordered=False)
        for i in range(12)
    )
)


def test_what_an_operation_is_worth_in_all_layers_is_learned_from_few_measurements():
    worth = np.array([0.0, 0.03, 0.01])
    subnets = np.random.default_rng(0).integers(3, size=(12 + 200, 12))
    losses = 0.2 + worth[subnets].sum(axis=1)
    surrogate = make_surrogate("average", UNORDERED)
    tuned = surrogate.tune(subnets[:12], losses[:12], None)
    mean, _ = surrogate.condition(tuned, subnets[:12], losses[:12], None).marginal(subnets[12:])
    # Twelve measurements say little of the 24 effects of layers, taken one by one.
    assert np.sqrt(np.mean((mean - losses[12:]) ** 2)) < 0.65 * np.std(losses[12:])


def test_operations_are_counted_by_the_layers_that_run():
    depth = Dimension(name="depth", part=BLOCKS, choices=(12, 6))
    layers = tuple(
        dimension.model_copy(
            update={"active_when": (Condition(dimension="depth", choices=(12,)),) if i > 5 else ()}
        )
        for i, dimension in enumerate(UNORDERED.dimensions)
    )
    encoding = Encoding(SearchSpace((depth, *layers)))
    whole, half = encoding.shared(np.array([[0] + [0] * 12, [1] + [0] * 12]))
    np.testing.assert_allclose(whole[2:] + 1 / 3, [1, 0, 0])
    np.testing.assert_allclose(half[2:] + 1 / 3, [0.5, 0, 0])
