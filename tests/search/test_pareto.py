from __future__ import annotations

import numpy as np
import pytest

from elasticnas.search.pareto import ParetoArchive, dominates, hypervolume, non_dominated


def brute_force_hypervolume(losses: np.ndarray, reference: np.ndarray) -> float:
    """Inclusion by cells of the grid that the points themselves span."""
    axes = [np.unique(np.append(losses[:, m], reference[m])) for m in range(losses.shape[1])]
    axes = [axis[axis <= reference[m]] for m, axis in enumerate(axes)]
    total = 0.0
    for corner in np.ndindex(*(len(axis) - 1 for axis in axes)):
        low = np.array([axis[i] for axis, i in zip(axes, corner, strict=True)])
        high = np.array([axis[i + 1] for axis, i in zip(axes, corner, strict=True)])
        if np.any(np.all(losses <= low, axis=1)):
            total += float(np.prod(high - low))
    return total


@pytest.mark.parametrize("objectives", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_equals_a_count_of_dominated_cells(objectives, seed):
    losses = np.random.default_rng(seed).random((12, objectives)) * 1.2
    reference = np.ones(objectives)
    expected = brute_force_hypervolume(losses, reference)
    assert hypervolume(losses, reference) == pytest.approx(expected)


def test_hypervolume_of_one_point_is_its_box():
    assert hypervolume(np.array([[0.25, 0.5]]), np.ones(2)) == 0.75 * 0.5
    assert hypervolume(np.array([[0.5, 0.5, 0.5]]), np.ones(3)) == 0.125


def test_points_outside_the_reference_contribute_nothing():
    assert hypervolume(np.array([[1.0, 0.0], [0.2, 1.3]]), np.ones(2)) == 0.0
    assert hypervolume(np.empty((0, 2)), np.ones(2)) == 0.0


def test_hypervolume_refuses_more_than_three_objectives():
    with pytest.raises(ValueError, match="2 or 3"):
        hypervolume(np.zeros((1, 4)), np.ones(4))


def test_equal_points_do_not_dominate_each_other():
    point = np.array([0.3, 0.4])
    assert not dominates(point, point)
    assert non_dominated(np.array([point, point])).all()


@pytest.mark.parametrize("objectives", [2, 3])
@pytest.mark.parametrize("seed", range(20))
def test_what_stays_is_what_no_other_row_dominates(objectives, seed):
    rng = np.random.default_rng(seed)
    losses = rng.integers(0, 6, (rng.integers(0, 60), objectives)) / 5
    losses[rng.random(losses.shape) < 0.05] = np.inf
    expected = [not any(dominates(other, row) for other in losses) for row in losses]
    assert non_dominated(losses).tolist() == expected


def test_dominance_refuses_more_than_three_objectives():
    with pytest.raises(ValueError, match="2 or 3"):
        non_dominated(np.zeros((1, 4)))


@pytest.mark.parametrize("objectives", [2, 3])
def test_the_archive_is_the_non_dominated_set_whatever_the_order(objectives):
    losses = np.random.default_rng(1).integers(0, 8, (200, objectives)) / 10
    expected = set(np.flatnonzero(non_dominated(losses)).tolist())
    for seed in range(3):
        archive = ParetoArchive(np.ones(objectives))
        for number in np.random.default_rng(seed).permutation(200).tolist():
            archive.add(number, losses[number])
        assert set(archive.numbers) == expected
        assert archive.hypervolume == pytest.approx(hypervolume(losses, np.ones(objectives)))


def test_the_archive_says_who_entered_and_who_left():
    archive = ParetoArchive(np.ones(2))
    assert archive.add(0, np.array([0.5, 0.5])).entered
    assert archive.add(1, np.array([0.2, 0.8])).entered
    assert not archive.add(2, np.array([0.6, 0.6])).entered
    change = archive.add(3, np.array([0.1, 0.4]))
    assert change.entered
    assert change.left == (0, 1)
