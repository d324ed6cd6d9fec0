from __future__ import annotations

import numpy as np
import pytest

from elasticnas.search import evolution
from elasticnas.search.pareto import non_dominated

CARDS = np.array([3, 1, 4, 5])
CHOICES = evolution.Choices(CARDS, np.array([True, True, True, True]))
NAMES = evolution.Choices(CARDS, np.array([True, True, False, True]))
"""The third dimension's four choices have no order."""


def test_ranks_peel_front_after_front():
    losses = np.array([[0.1, 0.9], [0.9, 0.1], [0.5, 0.95], [0.6, 0.96], [0.2, 0.2]])
    assert evolution.ranks(losses).tolist() == [0, 0, 1, 2, 0]
    assert evolution.ranks(losses, enough=3).tolist() == [0, 0, 1, 1, 0]


def test_survivors_are_the_front_first_and_its_ends_before_its_middle():
    losses = np.array([[0.0, 1.0], [0.1, 0.85], [0.12, 0.83], [1.0, 0.0], [1.0, 1.0]])
    kept = evolution.survivors(losses, 3)
    assert {0, 3} <= set(kept.tolist())
    assert non_dominated(losses)[kept].all()


def test_mutants_stay_in_the_space_and_differ_from_their_parents():
    rng = np.random.default_rng(0)
    parents = evolution.random_subnets(500, CHOICES, rng)
    mutants = evolution.mutate(parents, CHOICES, rng)
    assert (mutants >= 0).all()
    assert (mutants < CARDS).all()
    assert np.mean((mutants != parents).any(axis=1)) > 0.6


def test_neighbours_are_all_one_step_away():
    steps = evolution.neighbours(np.array([0, 0, 2, 4]), CHOICES)
    assert sorted(map(tuple, steps.tolist())) == [
        (0, 0, 1, 4),
        (0, 0, 2, 3),
        (0, 0, 3, 4),
        (1, 0, 2, 4),
    ]


def test_a_choice_without_an_order_is_a_neighbour_of_every_other():
    steps = evolution.neighbours(np.array([0, 0, 3, 4]), NAMES)
    assert {(0, 0, other, 4) for other in (0, 1, 2)} <= set(map(tuple, steps.tolist()))


def test_choices_without_an_order_are_drawn_and_mutated_evenly():
    rng = np.random.default_rng(0)
    drawn = evolution.random_subnets(8000, NAMES, rng)[:, 2]
    np.testing.assert_allclose(np.bincount(drawn) / 8000, 0.25, atol=0.02)
    ends = np.zeros((8000, 4), dtype=np.intp)
    mutants = evolution.mutate(ends, NAMES, rng, changes=3.0)[:, 2]
    found = np.bincount(mutants[mutants != 0], minlength=4)[1:]
    np.testing.assert_allclose(found / found.sum(), 1 / 3, atol=0.03)


def test_weights_multiply_how_likely_a_choice_is_drawn():
    rng = np.random.default_rng(0)
    weights = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [4, 1, 1, 2, 0], [1, 1, 1, 1, 1]])
    weighted = evolution.Choices(CARDS, NAMES.ordered, weights.astype(float))
    names = evolution.random_subnets(8000, weighted, rng)[:, 2]
    np.testing.assert_allclose(np.bincount(names) / 8000, np.array([4, 1, 1, 2]) / 8, atol=0.02)
    ends = np.zeros((8000, 4), dtype=np.intp)
    mutants = evolution.mutate(ends, weighted, rng, changes=3.0)
    assert (mutants < CARDS).all()
    found = np.bincount(mutants[mutants[:, 2] != 0, 2], minlength=4)[1:]
    np.testing.assert_allclose(found / found.sum(), np.array([1, 1, 2]) / 4, atol=0.03)
    np.testing.assert_allclose(weighted.likelihoods(np.array([[2, 0, 3, 4]])), np.log(2))


@pytest.mark.parametrize("weighted", [False, True])
def test_random_subnets_spread_from_minimal_to_maximal(weighted: bool):
    weights = np.tile([2.0, 1.0, 1.0], (40, 1)) if weighted else None
    choices = evolution.Choices(np.full(40, 3), np.full(40, True), weights)
    share = evolution.random_subnets(400, choices, np.random.default_rng(0)).mean(axis=1) / 2
    assert share.min() < 0.3
    assert share.max() > 0.7
