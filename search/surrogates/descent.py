"""Gradient descent with NumPy: AdamW over parameters, AdaHessian over inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Gradient = Callable[[Array], Array]
"""The gradient of a function at points (n, d), each on its own: the same shape."""

STEP = 1e-4
"""Of the central differences that products with the Hessian are taken by."""
SETTLED, STILL = 1e-5, 6
"""A change that is none, and after how many of them in a row a descent ends."""


class AdamW:
    """Loshchilov & Hutter 2019, over arrays that are changed in place."""

    def __init__(self, parameters: Sequence[Array], rate: float, decay: float = 0.01) -> None:
        self._parameters = list(parameters)
        self._rate, self._decay = rate, decay
        self._first = [np.zeros_like(each) for each in parameters]
        self._second = [np.zeros_like(each) for each in parameters]
        self._steps = 0

    def step(self, gradients: Sequence[Array], *, scale: float = 1.0) -> None:
        """One step, at ``scale`` times the rate."""
        self._steps += 1
        rate = self._rate * scale
        slow, fast = 1 - 0.9**self._steps, 1 - 0.999**self._steps
        moments = zip(self._parameters, gradients, self._first, self._second, strict=True)
        for value, gradient, first, second in moments:
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient**2 - second)
            value *= 1 - rate * self._decay
            value -= rate * (first / slow) / (np.sqrt(second / fast) + 1e-8)


def descend(
    gradient: Gradient,
    start: Array,
    bounds: tuple[Array, Array],
    rng: np.random.Generator,
    *,
    steps: int,
    rate: float,
    second_order: bool,
    value: Callable[[Array], Array] | None = None,
) -> Array:
    """Points (n, d) after descent from ``start``, never outside ``bounds`` ((d,) and (d,)).

    AdaHessian (Yao et al. 2021) with GOBI's settings (Tuli et al. 2021): moments of the gradient
    and of the Hessian's diagonal by Hutchinson's probes, power 1, and a rate that goes up and down
    by a cosine of two steps. Without ``second_order`` the root of the gradient's square takes the
    diagonal's place, which is Adam. With a ``value`` (n,) of the points, descent ends when its mean
    has changed by less than 1e-5 in six steps in a row.
    """
    points = start.copy()
    first, second = np.zeros_like(points), np.zeros_like(points)
    last, still = np.inf, 0
    for index in range(1, steps + 1):
        slope = gradient(points)
        if second_order:
            probe = rng.choice((-1.0, 1.0), size=points.shape)
            ahead, behind = gradient(points + STEP * probe), gradient(points - STEP * probe)
            curvature = np.abs(probe * (ahead - behind) / (2 * STEP))
        else:
            curvature = slope
        first += 0.1 * (slope - first)
        second += 0.001 * (curvature**2 - second)
        # CosineAnnealingLR with T_max = 2: 1, 1/2, 0, 1/2 of the rate.
        now = rate * 0.5 * (1 + np.cos(np.pi * (index - 1) / 2))
        scaled = np.sqrt(second / (1 - 0.999**index)) + 1e-4
        points -= now * (first / (1 - 0.9**index)) / scaled
        np.clip(points, *bounds, out=points)
        if value is not None:
            reached = float(value(points).mean())
            still = still + 1 if abs(reached - last) < SETTLED else 0
            last = reached
            if still == STILL:
                break
    return points
