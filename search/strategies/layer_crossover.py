"""A crossover that keeps a parent's first layers together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.samplers.nsgaii import BaseCrossover
from optuna.study import Study


class LayerCrossover(BaseCrossover):
    """The child has one parent's choices up to some layer, and the other's behind it.

    One-point crossover (Holland 1975, "Adaptation in Natural and Artificial Systems", ch. 6), cut
    between two layers only. What was bred to work together in neighbouring layers stays together,
    and a worker has computed the first layers of the child already. Every cut that leaves the child
    something of both is equally likely.

    ``layers`` (dimensions,) are those of the searched dimensions, in Optuna's order; what belongs
    to no layer goes with the last ones.
    """

    def __init__(self, layers: Sequence[int | None]) -> None:
        self._layers = np.array([np.inf if layer is None else layer for layer in layers])

    @property
    def n_parents(self) -> int:
        """Two."""
        return 2

    def crossover(
        self,
        parents_params: NDArray[np.float64],
        rng: np.random.RandomState,
        study: Study,
        search_space_bounds: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """One child, shape (dimensions,), of parents (2, dimensions)."""
        del study, search_space_bounds
        first, second = parents_params
        cuts = np.unique(self._layers)[1:]
        cut = rng.choice(cuts) if len(cuts) else np.inf
        child: NDArray[np.float64] = np.where(self._layers < cut, first, second)
        return child
