"""The seam between the model-based strategies and the regressions that they learn with."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from elasticnas.search.activity import Indices

Vector = NDArray[np.float64]


class Posterior(Protocol):
    """What is believed of the true losses of any subnets, noise not included."""

    def marginal(self, indices: Indices) -> tuple[Vector, Vector]:
        """Mean and standard deviation of each subnet's loss: shapes (n,) and (n,)."""
        ...

    def joint(self, indices: Indices) -> tuple[Vector, NDArray[np.float64]]:
        """Mean and covariance of the subnets' losses: shapes (n,) and (n, n)."""
        ...

    @property
    def noise(self) -> float:
        """The variance of a measurement around the true loss."""
        ...


class Surrogate(Protocol):
    """A regression of one loss on the subnet."""

    def tune(self, indices: Indices, losses: Vector, noise: float | None) -> tuple[float, ...]:
        """The hyperparameters that suit these measurements; empty if `condition` finds its own.

        ``noise`` is the sampling variance of a measurement. It is an upper bound on the noise
        that matters: subnets are measured on the same rows, so they share most of their luck.
        """
        ...

    def condition(
        self, tuned: tuple[float, ...], indices: Indices, losses: Vector, noise: float | None
    ) -> Posterior:
        """The belief after the measurements ``losses`` (n,) of subnets (n, dimensions)."""
        ...
