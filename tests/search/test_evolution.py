from __future__ import annotations

import numpy as np

from elasticnas.search import evolution
from elasticnas.search.pareto import non_dominated

CARDS = np.array([3, 1, 4, 5])


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
    parents = evolution.random_subnets(500, CARDS, rng)
    mutants = evolution.mutate(parents, CARDS, rng)
    assert (mutants >= 0).all()
    assert (mutants < CARDS).all()
    assert np.mean((mutants != parents).any(axis=1)) > 0.6


def test_neighbours_are_all_one_step_away():
    steps = evolution.neighbours(np.array([0, 0, 2, 4]), CARDS)
    assert sorted(map(tuple, steps.tolist())) == [
        (0, 0, 1, 4),
        (0, 0, 2, 3),
        (0, 0, 3, 4),
        (1, 0, 2, 4),
    ]


def test_random_subnets_spread_from_minimal_to_maximal():
    cards = np.full(40, 3)
    share = evolution.random_subnets(400, cards, np.random.default_rng(0)).mean(axis=1) / 2
    assert share.min() < 0.3
    assert share.max() > 0.7
