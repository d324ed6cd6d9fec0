"""The knee of a front: where a little more of one objective begins to cost much of another."""

from __future__ import annotations

import numpy as np

from elasticnas.search.pareto import Losses

ROUNDING = 1e-9
"""Distances that differ by less are a tie: what is left of them is rounding."""


def knee(losses: Losses) -> int | None:
    """The row of a front (shape (n, m), all minimised) that bulges furthest towards the ideal.

    Each objective is scaled to 0..1 over the rows given. The knee is the point at the largest
    distance, on the ideal's side, from the plane through the m points that are best in one
    objective and worst in the others; with two objectives that is the line between the ends of
    the front (Das 1999, "On characterizing the 'knee' of the Pareto curve based on
    normal-boundary intersection"; Branke et al. 2004, "Finding knees in multi-objective
    optimization"). All such planes have the equation ``sum of scaled losses = m - 1``, so the knee
    is the row with the smallest sum. Of rows at one distance it is the first, as at the ends of a
    front that bulges nowhere. None when there are no rows.
    """
    if len(losses) == 0:
        return None
    low, high = losses.min(axis=0), losses.max(axis=0)
    # An objective that does not vary tells no point from another.
    scaled = (losses - low) / np.where(high > low, high - low, 1.0)
    total = scaled.sum(axis=1)
    return int(np.flatnonzero(total <= total.min() + ROUNDING)[0])
