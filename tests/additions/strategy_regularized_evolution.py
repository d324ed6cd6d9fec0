"""A strategy of one's own, in one file: regularised evolution (Real et al. 2019, section 3).

The best of a random sample of the youngest evaluations is changed in one dimension. Best is by the
sum of the losses, so that cost counts as much as quality.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from elasticnas.api_schemas.strategies import STRATEGIES, StrategySettings
from elasticnas.search import evolution
from elasticnas.search.pareto import Losses
from elasticnas.search.problem import SearchProblem
from elasticnas.search.space import SubnetConfig
from elasticnas.search.strategies import FACTORIES
from elasticnas.search.strategies.history import History, generator


class RegularizedEvolutionSettings(StrategySettings):
    """Real et al. 2019."""

    name: Literal["regularized-evolution"] = "regularized-evolution"
    population_size: Annotated[int, Field(ge=2, le=1000)] = 20
    sample_size: Annotated[int, Field(ge=1, le=1000)] = 5


class RegularizedEvolution:
    def __init__(
        self, settings: RegularizedEvolutionSettings, problem: SearchProblem, *, seed: int
    ) -> None:
        self._settings = settings
        self._problem = problem
        self._seed = seed
        self._history = History(problem.space, len(problem.is_metric))

    def ask(self, number: int, attempt: int) -> SubnetConfig | None:
        rng = generator(self._seed, number, f"ask{attempt}")
        subnets, losses = self._history.measured(self._history.told_before(number))
        if number < self._settings.population_size or not len(subnets):
            found = self._problem.feasible.draws(1, rng)
        else:
            young = slice(-self._settings.population_size, None)
            sample = rng.choice(len(subnets[young]), self._settings.sample_size)
            parent = subnets[young][sample][np.argmin(losses[young][sample].sum(axis=1))]
            found = evolution.mutate(parent[None], self._problem.choices, rng, changes=1 + attempt)
            found = self._problem.repair(found, rng)
        return self._problem.space.decode(found[0].tolist())

    def begin(self, number: int, subnet: SubnetConfig) -> None:
        self._history.begin(number, subnet)

    def tell(self, number: int, losses: Losses, *, failed: bool) -> None:
        self._history.tell(number, losses, failed=failed)


STRATEGIES.register("regularized-evolution", RegularizedEvolutionSettings)
FACTORIES.register("regularized-evolution", RegularizedEvolution)
