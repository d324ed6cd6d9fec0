"""The knee of a front."""

from __future__ import annotations

import numpy as np
import pytest

from elasticnas.search.knee import knee


def test_a_front_without_points_has_no_knee():
    assert knee(np.empty((0, 2))) is None


def test_a_point_alone_is_its_own_knee():
    assert knee(np.array([[0.3, 0.2]])) == 0


def test_the_knee_is_the_point_furthest_from_the_line_between_the_ends():
    losses = np.array([[0.0, 1.0], [0.2, 0.3], [0.5, 0.2], [1.0, 0.0]])
    start, end = losses[0], losses[-1]
    along = (end - start) / np.linalg.norm(end - start)
    offsets = losses - start
    distances = np.linalg.norm(offsets - np.outer(offsets @ along, along), axis=1)
    assert knee(losses) == int(np.argmax(distances)) == 1


@pytest.mark.parametrize("scale", [(1e-6, 1.0), (1e9, 1e-3)])
def test_units_do_not_matter(scale):
    losses = np.array([[0.0, 1.0], [0.2, 0.3], [0.5, 0.2], [1.0, 0.0]])
    assert knee(losses * np.array(scale) + 7.0) == knee(losses)


def test_of_equal_points_the_first_is_the_knee():
    straight = np.array([[0.0, 0.3], [0.1, 0.2], [0.2, 0.1], [0.3, 0.0]])
    assert knee(straight) == 0


def test_a_point_behind_the_line_is_no_knee():
    assert knee(np.array([[0.0, 1.0], [0.8, 0.8], [1.0, 0.0]])) == 0


def test_an_objective_that_does_not_vary_is_ignored():
    assert knee(np.array([[5.0, 0.4], [5.0, 0.1]])) == 1


def test_three_objectives_have_a_knee_too():
    losses = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0], [0.3, 0.4, 0.3]])
    assert knee(losses) == 3
