"""`linas`: evaluate a population, learn a predictor, evolve on it, evaluate the best, repeat."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import Ridge
from sklearn.svm import SVR

from elasticnas.api_schemas.strategies import LinasSettings
from elasticnas.search import evolution
from elasticnas.search.activity import Indices
from elasticnas.search.pareto import Losses
from elasticnas.search.problem import SearchProblem
from elasticnas.search.space import SubnetConfig
from elasticnas.search.strategies.history import History, generator
from elasticnas.search.surrogates.features import Encoding

FEWEST_MEASURED = 4
"""With fewer measurements there is nothing to fit."""
DECIMALS = 9
"""To which predictions are rounded, in standard deviations of the metric. Subnets that a linear
model holds for equal differ in the last bits, and otherwise on every kind of processor."""


class LinasStrategy:
    """Lightweight iterative neural architecture search, DyNAS-T's.

    Cummings et al. 2022, "A hardware-aware framework for accelerating neural architecture search
    across modalities", section 3.3. The first population is random. For each next one a predictor
    of every metric is fitted to all measurements, NSGA-II runs on predicted metrics and exact
    costs, and the best of what it met that is new becomes the population. A population starts once
    the one before has been told in full.
    """

    def __init__(self, settings: LinasSettings, problem: SearchProblem, *, seed: int) -> None:
        assert settings.population_size is not None  # `SearchCreate` has filled it in
        self._settings = settings
        self._size = settings.population_size
        self._problem = problem
        self._seed = seed
        self._history = History(problem.space, len(problem.is_metric))
        self._encoding = Encoding(problem.space)
        self._population: tuple[int, Indices] | None = None

    def ask(self, number: int, attempt: int) -> SubnetConfig | None:
        """See `Strategy.ask`; None until the population before is told in full."""
        start = number - number % self._size
        if self._history.told < start:
            return None
        if self._population is None or self._population[0] != start:
            self._population = (start, self._next_population(start))
        population = self._population[1]
        unseen = population[self._history.is_unseen(population)]
        if len(unseen):
            return self._problem.space.decode(unseen[0].tolist())
        rng = generator(self._seed, number, f"ask{attempt}")
        return self._problem.space.decode(self._random(1, rng)[0].tolist())

    def begin(self, number: int, subnet: SubnetConfig) -> None:
        """See `Strategy.begin`."""
        self._history.begin(number, subnet)

    def tell(self, number: int, losses: Losses, *, failed: bool) -> None:
        """See `Strategy.tell`."""
        self._history.tell(number, losses, failed=failed)

    def _random(self, count: int, rng: np.random.Generator) -> Indices:
        counts = self._problem.choices.counts
        drawn = np.floor(rng.random((count, len(counts))) * counts).astype(np.intp)
        return self._problem.repair(drawn, rng)

    def _next_population(self, start: int) -> Indices:
        """Up to a population of subnets that are feasible and new, the best first."""
        size = self._size
        rng = generator(self._seed, start, "population")
        subnets, losses = self._history.measured(start)
        if len(subnets) < FEWEST_MEASURED:
            return self._random(2 * size, rng)
        predictors = []
        for column in np.flatnonzero(self._problem.is_metric):
            model = Ridge() if self._settings.predictor == "ridge" else SVR(C=1.0, epsilon=0.05)
            centre, scale = losses[:, column].mean(), losses[:, column].std() or 1.0
            predictors.append(
                model.fit(self._encoding.own(subnets), (losses[:, column] - centre) / scale)
            )

        def predicted(asked: Indices) -> Losses:
            features = self._encoding.own(asked)
            metrics = [each.predict(features).round(DECIMALS) for each in predictors]
            return np.column_stack([*metrics, self._problem.cost_losses(asked)])

        best = evolution.survivors(losses, size)
        met = self._evolve(np.concatenate([subnets[best], self._random(size, rng)]), predicted, rng)
        fresh = met[self._history.is_unseen(met, before=start)]
        if len(fresh) == 0:
            return self._random(size, rng)
        return fresh[evolution.survivors(predicted(fresh), size)]

    def _evolve(
        self, population: Indices, predicted: evolution.Fitness, rng: np.random.Generator
    ) -> Indices:
        """Every subnet that NSGA-II meets on the predicted losses, without repeats."""
        size = self._size
        met = [population]
        for _ in range(self._settings.generations):
            one, two = rng.integers(len(population), size=(2, size))
            children = evolution.crossover(population[one], population[two], rng)
            children = evolution.mutate(children, self._problem.choices, rng)
            children = self._problem.repair(children, rng)
            met.append(children)
            population = evolution.distinct(np.concatenate([population, children]))
            population = population[evolution.survivors(predicted(population), size)]
        return evolution.distinct(np.concatenate(met))
