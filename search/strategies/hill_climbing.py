"""`hill-climbing`: from the heuristic subnet, one step at a time, to each subnet that is better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.strategies import HillClimbingSettings
from elasticnas.search import evolution
from elasticnas.search.pareto import Losses, non_dominated
from elasticnas.search.problem import SearchProblem
from elasticnas.search.space import SubnetConfig
from elasticnas.search.strategies.history import History, generator

GOLDEN = (5**0.5 - 1) / 2
"""Its multiples, modulo one, fall ever into the largest gap: one weighting for each climb."""


@dataclass(frozen=True)
class _Stand:
    """Where a climb is: the subnet's evaluation (None: the heuristic subnet), and which climb."""

    number: int | None
    climb: int


class HillClimbingStrategy:
    """Hill climbing as in Shears (Munoz et al. 2024, section 3.3) and SQFT, for more objectives.

    A round evaluates a few random neighbours (one dimension, one step) of where the climb stands,
    and moves to the best of them if it is better. Better is by a weighted sum of the metrics' and
    the costs' losses, each scaled to the range seen; the first climb starts from the heuristic
    subnet and weighs both sides alike. At the top a new climb begins with another weighting, from
    the front member that is best by it.
    """

    def __init__(
        self, settings: HillClimbingSettings, problem: SearchProblem, *, seed: int
    ) -> None:
        self._settings = settings
        self._problem = problem
        self._seed = seed
        self._history = History(problem.space, len(problem.is_metric))
        self._stands = [_Stand(None, 0)]

    def ask(self, number: int, attempt: int) -> SubnetConfig | None:
        """See `Strategy.ask`; None until the round before is told in full."""
        round_ = number // self._settings.neighbours
        if self._history.told < round_ * self._settings.neighbours:
            return None
        rng = generator(self._seed, number, f"ask{attempt}")
        here = self._position(self._stand(round_))
        choices = self._problem.choices
        steps = evolution.neighbours(here, choices)
        if len(steps):
            steps = evolution.distinct(self._problem.canonical(steps))
            steps = steps[self._problem.are_feasible(steps) & self._history.is_unseen(steps)]
        if len(steps) == 0:
            far = evolution.mutate(np.tile(here, (64, 1)), choices, rng, changes=2.0 + attempt)
            far = self._problem.repair(far, rng)
            unseen = far[self._history.is_unseen(far)]
            steps = unseen if len(unseen) else far
        return self._problem.space.decode(steps[rng.integers(len(steps))].tolist())

    def begin(self, number: int, subnet: SubnetConfig) -> None:
        """See `Strategy.begin`."""
        self._history.begin(number, subnet)

    def tell(self, number: int, losses: Losses, *, failed: bool) -> None:
        """See `Strategy.tell`."""
        self._history.tell(number, losses, failed=failed)

    def _position(self, stand: _Stand) -> NDArray[np.intp]:
        if stand.number is None:
            return np.array(self._problem.space.encode(self._problem.space.heuristic))
        return self._history.subnet(stand.number)

    def _stand(self, round_: int) -> _Stand:
        """Where the climb stands in this round: each round follows from the ones before alone."""
        while len(self._stands) <= round_:
            self._stands.append(self._move(self._stands[-1], len(self._stands)))
        return self._stands[round_]

    def _move(self, stand: _Stand, round_: int) -> _Stand:
        end = round_ * self._settings.neighbours
        measured, losses = self._history.numbers(end), self._history.measured(end)[1]
        if len(measured) == 0:
            return stand
        values = self._weighted(losses, stand.climb)
        here = measured == stand.number
        height = values[here][0] if here.any() else np.inf
        latest = np.where(measured >= end - self._settings.neighbours, values, np.inf)
        if latest.min() < height:
            return _Stand(int(measured[np.argmin(latest)]), stand.climb)
        front = np.flatnonzero(non_dominated(losses))
        values = self._weighted(losses, stand.climb + 1)
        return _Stand(int(measured[front[np.argmin(values[front])]]), stand.climb + 1)

    def _weighted(self, losses: Losses, climb: int) -> NDArray[np.float64]:
        """The weighted losses (n,) of measurements (n, m), as this climb weighs them."""
        low, high = losses.min(axis=0), losses.max(axis=0)
        scaled = (losses - low) / np.where(high > low, high - low, 1.0)
        weight = (0.5 + climb * GOLDEN) % 1.0
        metric = self._problem.is_metric
        weights = np.where(metric, weight / metric.sum(), (1 - weight) / max((~metric).sum(), 1))
        return np.asarray(scaled @ weights)
