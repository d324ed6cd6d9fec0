"""A crossover for ordered choices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from optuna.samplers.nsgaii import BaseCrossover
from optuna.study import Study


class OrdinalCrossover(BaseCrossover):
    """Each choice of the child lies between its parents', all from one to the other equally likely.

    Intermediate recombination (Mühlenbein & Schlierkamp-Voosen 1993, "Predictive models for the
    breeder genetic algorithm", section 5) on choice indices. Uniform crossover can only repeat a
    parent's choice; here two parents with 12 and 6 heads may have a child with 9.
    """

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
        """One child, shape (dimensions,), of parents (2, dimensions), all whole numbers."""
        del study, search_space_bounds
        low, high = parents_params.min(axis=0), parents_params.max(axis=0)
        drawn: NDArray[np.float64] = low + np.floor(rng.rand(len(low)) * (high - low + 1))
        return drawn
