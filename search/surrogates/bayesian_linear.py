"""Bayesian linear regression on ordinal and shared features and their strongest products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import BayesianRidge

from elasticnas.search.activity import Indices
from elasticnas.search.surrogates.features import Encoding, Features
from elasticnas.search.surrogates.protocol import Vector
from elasticnas.search.surrogates.subsample import spread_and_latest

LEARNED_FROM = 8192
"""Many times the features of any space; more cost time in proportion, and say no more."""


@dataclass(frozen=True)
class _Ridge:
    """A fitted regression over standardised losses."""

    model: BayesianRidge
    linear: BayesianLinear
    centre: float
    scale: float

    @property
    def noise(self) -> float:
        """See `Posterior.noise`."""
        return float(self.scale**2 / self.model.alpha_)

    def marginal(self, indices: Indices) -> tuple[Vector, Vector]:
        """See `Posterior.marginal`."""
        mean, offset = self._at(indices)
        variance = np.einsum("ij,jk,ik->i", offset, self.model.sigma_, offset, optimize=True)
        return mean, np.sqrt(np.maximum(variance, 0.0)) * self.scale

    def joint(self, indices: Indices) -> tuple[Vector, NDArray[np.float64]]:
        """See `Posterior.joint`."""
        mean, offset = self._at(indices)
        covariance = offset @ self.model.sigma_ @ offset.T
        return mean, covariance * self.scale**2

    def _at(self, indices: Indices) -> tuple[Vector, Features]:
        """The expected losses (n,), and by how much features (n, columns) are off their centre."""
        features = self.linear.features(indices)
        mean = self.model.predict(features) * self.scale + self.centre
        return mean, features - self.model.X_offset_


class BayesianLinear:
    """MacKay 1992, "Bayesian interpolation", by scikit-learn: both precisions from the evidence.

    Beside each step's own effect: the shared features, and all products of two shared features,
    which is as much interaction as a hundred measurements can carry.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding

    def features(self, indices: Indices) -> Features:
        """Shape (n, steps + shared + shared * (shared + 1) / 2)."""
        everything = self._encoding.all(indices)
        shared = self._encoding.shared(indices)
        i, j = np.triu_indices(shared.shape[1])
        return np.concatenate([everything, shared[:, i] * shared[:, j]], axis=1)

    def tune(self, indices: Indices, losses: Vector, noise: float | None) -> tuple[float, ...]:
        """See `Surrogate.tune`: the regression finds its own."""
        del indices, losses, noise
        return ()

    def condition(
        self, tuned: tuple[float, ...], indices: Indices, losses: Vector, noise: float | None
    ) -> _Ridge:
        """See `Surrogate.condition`."""
        del tuned, noise
        centre, scale = float(np.mean(losses)), float(np.std(losses)) or 1.0
        model = BayesianRidge()
        kept = spread_and_latest(len(losses), LEARNED_FROM)
        model.fit(self.features(indices[kept]), (losses[kept] - centre) / scale)
        return _Ridge(model, self, centre, scale)
