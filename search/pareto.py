"""Dominance, hypervolume and the archive of non-dominated points.

Everything is minimised: a point is a row of losses, shape (n, m) for n points and m objectives.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Losses = NDArray[np.float64]


def dominates(a: Losses, b: Losses) -> bool:
    """True when ``a`` (shape (m,)) is nowhere worse than ``b`` and somewhere better."""
    return bool(np.all(a <= b) and np.any(a < b))


def non_dominated(losses: Losses) -> NDArray[np.bool_]:
    """Which rows of ``losses`` (shape (n, m), m = 2 or 3) no other dominates: a mask of shape (n,).

    Equal rows do not dominate each other, so all of them stay. O(n log n): in lexicographic order
    a row can only be dominated by an earlier one, hence by one that is no worse in the other
    objectives (Kung et al. 1975, "On finding the maxima of a set of vectors").

    Raises:
        ValueError: m is neither 2 nor 3.
    """
    if losses.shape[1] not in (2, 3):
        raise ValueError(f"dominance is computed for 2 or 3 objectives, found {losses.shape[1]}")
    ordered, row = np.unique(losses, axis=0, return_inverse=True)
    if losses.shape[1] == 2:
        stays = np.ones(len(ordered), dtype=bool)
        stays[1:] = ordered[1:, 1] < np.minimum.accumulate(ordered[:-1, 1])
    else:
        # Only the order counts, and places in it are finite where losses may not be.
        _, y = np.unique(ordered[:, 1], return_inverse=True)
        _, z = np.unique(ordered[:, 2], return_inverse=True)
        stairs = _Staircase(len(ordered), len(ordered))
        places = zip(y.tolist(), z.tolist(), strict=True)
        stays = np.array([stairs.add(*place) > 0 for place in places], dtype=bool)
    kept: NDArray[np.bool_] = stays[row.reshape(-1)]
    return kept


def hypervolume(losses: Losses, reference: Losses) -> float:
    """The volume that ``losses`` (shape (n, m), m = 2 or 3) dominate below ``reference`` (m,).

    Exact, in O(n log n): two objectives by one sweep, three by a sweep along the last that keeps
    the staircase of the other two (Beume et al. 2009, "On the complexity of computing the
    hypervolume indicator", section III). Points that are not better than the reference in every
    objective contribute nothing.

    Raises:
        ValueError: m is neither 2 nor 3.
    """
    if losses.size == 0:
        return 0.0
    inside = losses[np.all(losses < reference, axis=1)]
    if len(inside) == 0:
        return 0.0
    if losses.shape[1] == 2:
        return _area(inside, reference)
    if losses.shape[1] == 3:
        return _volume(inside, reference)
    raise ValueError(f"hypervolume is computed for 2 or 3 objectives, found {losses.shape[1]}")


def _area(losses: Losses, reference: Losses) -> float:
    """Two objectives: strips between falling steps of the staircase."""
    ordered = losses[np.lexsort((losses[:, 1], losses[:, 0]))]
    ceiling = np.minimum.accumulate(np.concatenate(([reference[1]], ordered[:, 1])))
    return float(np.sum((reference[0] - ordered[:, 0]) * (ceiling[:-1] - ceiling[1:])))


def _volume(losses: Losses, reference: Losses) -> float:
    """Three objectives: slices between successive values of the third."""
    stairs = _Staircase(reference[0], reference[1])
    area = volume = 0.0
    depth = 0.0
    for x, y, z in losses[np.argsort(losses[:, 2], kind="stable")].tolist():
        volume += area * (z - depth)
        depth = z
        area += stairs.add(x, y)
    return float(volume + area * (reference[2] - depth))


class _Staircase:
    """The lower left boundary of points in a plane, within a reference corner."""

    def __init__(self, x: float, y: float) -> None:
        self._xs = [-np.inf, x]  # rising
        self._ys = [y, -np.inf]  # falling

    def add(self, x: float, y: float) -> float:
        """The area that a point adds: 0 when one of those before is nowhere worse."""
        xs, ys = self._xs, self._ys
        first = last = bisect_right(xs, x)
        if ys[first - 1] <= y:
            return 0.0
        added, left, ceiling = 0.0, x, ys[first - 1]
        while ys[last] >= y:
            added += (xs[last] - left) * (ceiling - y)
            left, ceiling = xs[last], ys[last]
            last += 1
        added += (xs[last] - left) * (ceiling - y)
        xs[first:last], ys[first:last] = [x], [y]
        return added


@dataclass(frozen=True)
class FrontChange:
    """What adding one point did: whether it ``entered`` the front, and who ``left`` it."""

    entered: bool
    left: tuple[int, ...] = ()


@dataclass
class ParetoArchive:
    """The non-dominated points seen so far, each known by its evaluation number.

    ``reference`` (shape (m,)) bounds the hypervolume, which is kept as points come.
    """

    reference: Losses
    numbers: list[int] = field(default_factory=list)
    hypervolume: float = 0.0
    _losses: Losses = field(init=False)

    def __post_init__(self) -> None:
        self._losses = np.empty((0, len(self.reference)))

    @property
    def losses(self) -> Losses:
        """The front's losses, shape (front size, m), in the order of ``numbers``."""
        return self._losses

    def add(self, number: int, losses: Losses) -> FrontChange:
        """Offer a point (shape (m,)): it enters unless some member dominates it. O(front size)."""
        nowhere_worse = np.all(self._losses <= losses, axis=1)
        if np.any(nowhere_worse & np.any(self._losses < losses, axis=1)):
            return FrontChange(entered=False)
        beaten = np.all(losses <= self._losses, axis=1) & np.any(losses < self._losses, axis=1)
        left = tuple(n for n, out in zip(self.numbers, beaten, strict=True) if out)
        self.numbers = [n for n, out in zip(self.numbers, beaten, strict=True) if not out]
        self.numbers.append(number)
        self._losses = np.vstack([self._losses[~beaten], losses])
        self.hypervolume = hypervolume(self._losses, self.reference)
        return FrontChange(entered=True, left=left)
