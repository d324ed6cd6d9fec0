"""Dominance, hypervolume and the archive of non-dominated points.

Everything is minimised: a point is a row of losses, shape (n, m) for n points and m objectives.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Losses = NDArray[np.float64]


def dominates(a: Losses, b: Losses) -> bool:
    """True when ``a`` (shape (m,)) is nowhere worse than ``b`` and somewhere better."""
    return bool(np.all(a <= b) and np.any(a < b))


def non_dominated(losses: Losses) -> NDArray[np.bool_]:
    """Which rows of ``losses`` (shape (n, m)) no other row dominates: a mask of shape (n,).

    Equal rows do not dominate each other, so all of them stay.
    """
    nowhere_worse = np.all(losses[:, None, :] <= losses[None, :, :], axis=2)
    somewhere_better = np.any(losses[:, None, :] < losses[None, :, :], axis=2)
    dominated: NDArray[np.bool_] = np.any(nowhere_worse & somewhere_better, axis=0)
    return ~dominated


def hypervolume(losses: Losses, reference: Losses) -> float:
    """The volume that ``losses`` (shape (n, m), m = 2 or 3) dominate below ``reference`` (m,).

    Exact. Two objectives by one sweep, O(n log n); three by slicing along the last (HSO, While et
    al. 2006, "A faster algorithm for calculating hypervolume"), O(n^2 log n). Points that are not
    better than the reference in every objective contribute nothing.

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
    """Three objectives: areas of the slices between successive values of the third."""
    ordered = losses[np.argsort(losses[:, 2], kind="stable")]
    depths = np.diff(np.concatenate((ordered[:, 2], [reference[2]])))
    return float(
        sum(
            depth * _area(ordered[: count + 1, :2], reference[:2])
            for count, depth in enumerate(depths)
            if depth > 0
        )
    )


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
