"""Which groups are kept, given their alphas; and what several selections agree on."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

Kept = frozenset[int]
"""The numbers of the groups that are kept."""


def above_mean(alphas: Sequence[float]) -> Kept:
    """Flexora's published rule: groups that are more useful than the average one.

    Under plain gradient descent alphas sum to 0, so that this is ``alpha > 0``; Adam lets the sum
    drift. Unless all are equal, some are kept and some dropped, whatever the truth is.
    """
    mean = fmean(alphas)
    return frozenset(group for group, alpha in enumerate(alphas) if alpha > mean)


def above_zero(alphas: Sequence[float]) -> Kept:
    """The rule as the released code of Flexora has it: ``alpha > 0``."""
    return frozenset(group for group, alpha in enumerate(alphas) if alpha > 0)


def largest(alphas: Sequence[float], count: int) -> Kept:
    """The ``count`` groups of the largest alphas; of equal ones the first."""
    ranked = sorted(range(len(alphas)), key=lambda group: -alphas[group])
    return frozenset(ranked[:count])


def above_phantom(alphas: Sequence[float], phantom: float, margin: float) -> Kept:
    """The groups whose alphas are more than ``margin`` above that of an adapter that is not there.

    This rule is ours; it may keep none, and all.
    """
    return frozenset(group for group, alpha in enumerate(alphas) if alpha - phantom > margin)


def agreed(selections: Sequence[Kept]) -> Kept:
    """The groups that more than half of the selections keep."""
    groups = frozenset().union(*selections)
    return frozenset(
        group for group in groups if 2 * sum(group in each for each in selections) > len(selections)
    )
