"""An ensemble of randomised trees, whose disagreement stands for what is not known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from elasticnas.search.activity import Indices
from elasticnas.search.surrogates.features import Encoding
from elasticnas.search.surrogates.protocol import Vector


@dataclass(frozen=True)
class _Ensemble:
    """A grown ensemble."""

    forest: ExtraTreesRegressor
    encoding: Encoding
    noise: float

    def marginal(self, indices: Indices) -> tuple[Vector, Vector]:
        """See `Posterior.marginal`."""
        votes = self._votes(indices)
        return votes.mean(axis=0), votes.std(axis=0)

    def joint(self, indices: Indices) -> tuple[Vector, NDArray[np.float64]]:
        """See `Posterior.joint`."""
        votes = self._votes(indices)
        return votes.mean(axis=0), np.atleast_2d(np.cov(votes, rowvar=False, bias=True))

    def _votes(self, indices: Indices) -> NDArray[np.float64]:
        features = self.encoding.all(indices).astype(np.float32)
        return np.stack([tree.predict(features) for tree in self.forest.estimators_])


class Trees:
    """Extremely randomised trees (Geurts et al. 2006), bootstrapped so that they disagree."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding

    def tune(self, indices: Indices, losses: Vector, noise: float | None) -> tuple[float, ...]:
        """See `Surrogate.tune`: there is nothing to tune."""
        del indices, losses, noise
        return ()

    def condition(
        self, tuned: tuple[float, ...], indices: Indices, losses: Vector, noise: float | None
    ) -> _Ensemble:
        """See `Surrogate.condition`."""
        del tuned
        forest = ExtraTreesRegressor(
            n_estimators=64, min_samples_leaf=2, bootstrap=True, random_state=0
        )
        forest.fit(self._encoding.all(indices), losses)
        return _Ensemble(forest, self._encoding, noise or float(np.var(losses)) / 10)
