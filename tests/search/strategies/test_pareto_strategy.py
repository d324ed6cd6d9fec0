from __future__ import annotations

import random

import numpy as np
import pytest

from benchmarks import policies
from benchmarks.problems import tables
from elasticnas.search.cost import cost_report
from elasticnas.search.strategies.pareto import block_length, explores, tuning_point
from tests.search.spaces import accuracy, cost_model, space
from tests.search.strategies.searching import loop, resumed, run

PARETO = {"name": "pareto"}


def hypervolume(strategy, evaluations: int, seed: int) -> float:
    search = loop(strategy, evaluations=evaluations, seed=seed)
    run(search)
    return search.archive.hypervolume


def test_beats_random_at_twice_its_evaluations():
    ours = [hypervolume(PARETO, 40, seed) for seed in range(3)]
    others = [hypervolume({"name": "random"}, 80, seed) for seed in range(3)]
    assert min(ours) > max(others)


@pytest.mark.parametrize("surrogate", ["bayesian_linear", "gaussian_process", "trees"])
def test_beats_random_with_every_surrogate(surrogate):
    strategy = PARETO | {"surrogate": surrogate}
    assert hypervolume(strategy, 32, 0) > hypervolume({"name": "random"}, 32, 0)


@pytest.mark.parametrize("died_after", [67, 70])
def test_a_restart_within_a_block_of_shared_plans_changes_nothing(died_after):
    undisturbed = run(loop(PARETO, evaluations=84))
    found = resumed(PARETO, undisturbed, died_after=died_after)
    assert found == [p.subnet for p in undisturbed]


def test_goes_on_when_nothing_can_be_learned():
    def constant(_):
        return {"accuracy": 0.5}

    assert len({p.subnet for p in run(loop(PARETO, evaluations=40), constant)}) == 40


def test_goes_on_when_next_to_everything_fails():
    rng = random.Random(0)

    def mostly_failing(subnet):
        return accuracy(subnet) if rng.random() < 0.1 else None

    assert len(run(loop(PARETO, evaluations=40), mostly_failing)) == 40


def test_a_collapsed_subnet_does_not_bend_the_model():
    def collapsing(subnet):
        gone = subnet["layer.0.ffn.width"] == 384 and subnet["layer.1.ffn.width"] == 384
        return {"accuracy": 0.0} if gone else accuracy(subnet)

    def hypervolume_of(strategy):
        search = loop(strategy, evaluations=50)
        run(search, collapsing)
        return search.archive.hypervolume

    assert hypervolume_of(PARETO) > hypervolume_of({"name": "random"})


def test_two_costs_beside_a_metric():
    fields = {"evaluations": 36, "objectives": ["accuracy", "gflops", "params"]}
    ours, other = loop(PARETO, **fields), loop({"name": "random"}, **fields)
    run(ours)
    run(other)
    assert ours.archive.losses.shape[1] == 3
    assert ours.archive.hypervolume > other.archive.hypervolume


@pytest.mark.parametrize(
    "objectives", [["accuracy", "f1", "gflops"], ["f1", "accuracy"], ["gflops", "accuracy"]]
)
def test_any_order_and_number_of_metrics(objectives):
    def both(subnet):
        score = accuracy(subnet)["accuracy"]
        return {"accuracy": score, "f1": 1.2 - score - 0.02 * subnet["layer.0.attention.heads"]}

    search = loop(PARETO, evaluations=30, objectives=objectives)
    assert len({p.subnet for p in run(search, both)}) == 30


def test_the_tightest_constraint_leaves_only_what_satisfies_it():
    bound = cost_report(cost_model(), space().minimal, 64).gflops * 1.15
    search = loop(PARETO, evaluations=30, constraints=[{"cost": "gflops", "max": bound}])
    assert all(p.cost.gflops <= bound for p in run(search))


def test_the_first_design_spreads_over_the_cost_axis():
    found = run(loop(PARETO | {"initial_design": 20}, evaluations=20))
    costs = np.sort([p.cost.gflops for p in found])
    assert np.diff(costs).max() < 0.3 * (costs[-1] - costs[0])


RIGHT = {
    "layer.0.attention.heads": [8, 2, 1],
    "layer.0.ffn.width": [8, 4, 2, 1],
    "layer.3.attention.heads": [1, 2, 8],
    "layer.3.ffn.width": [1, 2, 4, 8],
}
"""In this space early layers are worth their cost, and late ones are not."""


def mean_hypervolume(priors: dict[str, list[int]], evaluations: int) -> float:
    strategy = PARETO | {"priors": priors}
    return float(np.mean([hypervolume(strategy, evaluations, seed) for seed in range(4)]))


def test_priors_that_are_right_help_early_and_wrong_ones_do_not_matter_late():
    wrong = {name: weights[::-1] for name, weights in RIGHT.items()}
    assert mean_hypervolume(RIGHT, 12) > mean_hypervolume({}, 12)
    assert mean_hypervolume(wrong, 60) > 0.99 * mean_hypervolume({}, 60)


def test_a_restart_with_priors_changes_nothing():
    strategy = PARETO | {"priors": RIGHT}
    undisturbed = run(loop(strategy, evaluations=40))
    assert resumed(strategy, undisturbed, died_after=23) == [p.subnet for p in undisturbed]
    assert run(loop(PARETO, evaluations=40)) != undisturbed


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3, 1.0])
def test_the_promised_share_explores(share):
    chosen = [number for number in range(1000) if explores(number, share)]
    assert len(chosen) == pytest.approx(1000 * share, abs=1)
    assert max(np.diff(chosen)) <= 1 / share + 1


def test_blocks_begin_where_their_first_number_says():
    for number in range(2000):
        start = number - number % block_length(number)
        assert block_length(start) == block_length(number)


def test_hyperparameters_are_tuned_at_few_points_and_never_on_the_future():
    points = [tuning_point(measured) for measured in range(4, 2001)]
    assert points == sorted(points)
    assert all(point <= measured for measured, point in enumerate(points, start=4))
    assert len(set(points)) < 20


@pytest.mark.skipif(
    not (tables.FOLDER / "nas-bench-macro").is_dir(), reason="the published tables are not here"
)
@pytest.mark.slow
def test_choices_without_an_order_do_not_make_it_blind():
    shares = [policies.run("macro-front", "pareto", seed)["share"] for seed in range(4)]
    assert np.mean([each["50"] for each in shares]) >= 0.94
    assert np.mean([each["100"] for each in shares]) >= 0.96
