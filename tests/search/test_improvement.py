from __future__ import annotations

import numpy as np
import pytest

from elasticnas.search.improvement import expected_improvement
from elasticnas.search.pareto import hypervolume, non_dominated


@pytest.mark.parametrize("objectives", [2, 3])
def test_it_is_the_mean_gain_in_hypervolume_over_draws_of_the_uncertain_loss(objectives):
    rng = np.random.default_rng(3)
    front = rng.random((12, objectives))
    front = front[non_dominated(front)]
    mean, std, exact = rng.random(4), rng.uniform(0.02, 0.3, 4), rng.random((4, objectives - 1))
    found = expected_improvement(mean, std, exact, front)
    reference = np.ones(objectives)
    before = hypervolume(front, reference)
    for point in range(4):
        draws = rng.normal(mean[point], std[point], 3000)
        gains = [
            hypervolume(np.vstack([front, [draw, *exact[point]]]), reference) - before
            for draw in draws
        ]
        assert found[point] == pytest.approx(
            np.mean(gains), abs=1e-9 + 4 * np.std(gains) / 3000**0.5
        )


def test_a_certain_and_dominated_point_gains_nothing():
    front = np.array([[0.2, 0.3]])
    gain = expected_improvement(np.array([0.3]), np.array([0.0]), np.array([[0.4]]), front)
    assert gain[0] == pytest.approx(0.0, abs=1e-12)


def test_a_certain_point_gains_its_own_box():
    front = np.array([[0.2, 0.5]])
    gain = expected_improvement(np.array([0.6]), np.array([0.0]), np.array([[0.1]]), front)
    assert gain[0] == pytest.approx((1.0 - 0.6) * (0.5 - 0.1))
