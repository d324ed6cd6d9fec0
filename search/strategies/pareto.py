"""`pareto`: model-based multi-objective search where every cost is exact and free."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from elasticnas.api_schemas.strategies import ParetoSettings
from elasticnas.search import evolution
from elasticnas.search.activity import Indices
from elasticnas.search.improvement import expected_improvement
from elasticnas.search.pareto import Losses, non_dominated
from elasticnas.search.priors import choice_weights
from elasticnas.search.problem import SearchProblem
from elasticnas.search.space import SubnetConfig
from elasticnas.search.strategies.design import stratified
from elasticnas.search.strategies.history import History, generator
from elasticnas.search.surrogates import Posterior, make_surrogate

FEWEST_MEASURED = 4
"""With fewer measurements there is nothing to fit."""

ROUNDS = 6
PARENTS = 32
CHILDREN = 96
SHORTLIST = 128

QUANTILES = norm.ppf((np.arange(8) + 0.5) / 8)
"""Where a second or third metric is taken, in standard deviations from its mean."""


class ParetoStrategy:
    """Expected hypervolume improvement over a pool grown by evolution, with exact costs.

    Evaluations begin with a space-filling design. From then on a regression of each metric on the
    subnets measured so far says what any other subnet's metric would be, and how surely; its costs
    are known. Proposed is the subnet whose expected gain in hypervolume is the largest, among
    thousands bred around the front. What is in flight is believed to come out as predicted
    (kriging believer, Ginsbourger et al. 2010), which keeps parallel proposals apart. The front
    that gains are counted from is that of the predicted metrics, not of the measured ones: among
    hundreds of noisy measurements the best are lucky (Gramacy & Lee 2011; noisy expected
    improvement). A fixed share of proposals explores.

    Priors say which choices are likelier to be drawn for the design and for the pool; nothing that
    is predicted depends on them, and exploring ignores them.

    A plan is made for a block of numbers at a time, from what had been told when the first of them
    began, so a rebuilt strategy makes the same plans, and only the plans that it still needs.
    """

    def __init__(self, settings: ParetoSettings, problem: SearchProblem, *, seed: int) -> None:
        self._settings = settings
        self._problem = problem
        self._seed = seed
        self._history = History(problem.space, len(problem.is_metric))
        self._surrogate = make_surrogate(settings.surrogate, problem.space)
        dimensions = int(np.sum(problem.choices.counts > 1))
        size = settings.initial_design
        self._choices = replace(
            problem.choices, weights=choice_weights(problem.space, settings.priors)
        )
        self._design_size = int(np.clip(dimensions // 2, 12, 20)) if size is None else size
        self._design: Indices | None = None
        self._tuned: dict[tuple[int, int], tuple[float, ...]] = {}
        self._planned: tuple[int, Indices] | None = None
        self._believed: tuple[int, list[Posterior] | None] | None = None

    def ask(self, number: int, attempt: int) -> SubnetConfig | None:
        """See `Strategy.ask`; never None."""
        rng = generator(self._seed, number, f"ask{attempt}")
        candidates = self._candidates(number)
        unseen = candidates[self._history.is_unseen(candidates)]
        if len(unseen):
            return self._decode(unseen[0])
        drawn = evolution.random_subnets(1, self._problem.choices, rng)
        return self._decode(self._problem.repair(drawn, rng)[0])

    def begin(self, number: int, subnet: SubnetConfig) -> None:
        """See `Strategy.begin`."""
        self._history.begin(number, subnet)

    def tell(self, number: int, losses: Losses, *, failed: bool) -> None:
        """See `Strategy.tell`."""
        self._history.tell(number, losses, failed=failed)

    def _decode(self, indices: NDArray[np.intp]) -> SubnetConfig:
        return self._problem.space.decode(indices.tolist())

    def _candidates(self, number: int) -> Indices:
        """What may be proposed for ``number``, the best first."""
        if number < self._design_size:
            if self._design is None:
                rng = generator(self._seed, 0, "design")
                self._design = stratified(self._problem, self._design_size, rng, self._choices)
            return self._design
        start = number - number % block_length(number)
        if explores(number, self._settings.exploration):
            return self._unknown(number, start)
        if self._planned is None or self._planned[0] != start:
            self._planned = (start, self._plan(start))
        return self._planned[1]

    # -- what is believed --------------------------------------------------------------------

    def _beliefs(self, start: int) -> list[Posterior] | None:
        """One posterior per metric from what was told when ``start`` began; None if too little.

        Those of the latest block are kept: the plan and the explorers of a block share them.
        """
        if self._believed is None or self._believed[0] != start:
            self._believed = (start, self._learn(start))
        return self._believed[1]

    def _learn(self, start: int) -> list[Posterior] | None:
        told = self._history.told_before(start)
        subnets, losses = self._history.measured(told)
        if len(subnets) < FEWEST_MEASURED:
            return None
        point = tuning_point(len(subnets))
        beliefs = []
        for metric, column in enumerate(np.flatnonzero(self._problem.is_metric)):
            values = _without_outliers(losses[:, column])
            noise = self._problem.noise_variance(metric, values)
            tuned = self._tune(metric, subnets[:point], losses[:point, column])
            beliefs.append(self._surrogate.condition(tuned, subnets, values, noise))
        return beliefs

    def _tune(
        self, metric: int, subnets: Indices, losses: NDArray[np.float64]
    ) -> tuple[float, ...]:
        """Hyperparameters from the first measurements, as many as a tuning point has."""
        if (metric, len(subnets)) not in self._tuned:
            values = _without_outliers(losses)
            noise = self._problem.noise_variance(metric, values)
            self._tuned[metric, len(subnets)] = self._surrogate.tune(subnets, values, noise)
        return self._tuned[metric, len(subnets)]

    def _believed_losses(self, beliefs: list[Posterior], subnets: Indices) -> Losses:
        """Predicted metrics, then exact costs: shape (n, m)."""
        means = [belief.marginal(subnets)[0] for belief in beliefs]
        return np.column_stack([*means, self._problem.cost_losses(subnets)])

    # -- what is proposed --------------------------------------------------------------------

    def _unknown(self, number: int, start: int) -> Indices:
        """Random subnets of any cost, the least certain first: what no front leads to."""
        rng = generator(self._seed, number, "explore")
        drawn = evolution.random_subnets(64, self._problem.choices, rng)
        drawn = evolution.distinct(self._problem.repair(drawn, rng))
        beliefs = self._beliefs(start)
        if beliefs is None:
            return drawn
        doubt = np.sum([belief.marginal(drawn)[1] for belief in beliefs], axis=0)
        return drawn[_best_first(doubt)]

    def _plan(self, start: int) -> Indices:
        """Subnets for the block of numbers from ``start``, in the order they should be tried."""
        rng = generator(self._seed, start, "plan")
        beliefs = self._beliefs(start)
        told = self._history.told_before(start)
        if beliefs is None:
            return stratified(self._problem, 2 * self._design_size, rng, self._choices)
        pending = self._history.in_flight(told, start)
        known = np.concatenate([self._history.measured(told)[0], pending])
        believed = self._believed_losses(beliefs, known)
        on_front = non_dominated(believed)
        front = _Front(believed[on_front], len(beliefs))
        pool, gain = self._grow(start, front, beliefs, known[on_front], rng)
        if len(pool) == 0:
            return pool
        shortlist = pool[_best_first(gain)[:SHORTLIST]]
        wanted = 2 * block_length(start) + 4
        return _apart(shortlist, pending, front, beliefs, self._problem, wanted)

    def _grow(
        self,
        start: int,
        front: _Front,
        beliefs: list[Posterior],
        best: Indices,
        rng: np.random.Generator,
    ) -> tuple[Indices, NDArray[np.float64]]:
        """A pool of unseen, feasible subnets bred for their expected gain, and that gain."""
        choices = self._choices
        parents = best[rng.integers(len(best), size=2 * CHILDREN)]
        fresh = np.concatenate(
            [
                evolution.mutate(parents, choices, rng, changes=2.0),
                evolution.random_subnets(CHILDREN, choices, rng),
            ]
        )
        pool = np.empty((0, best.shape[1]), dtype=np.intp)
        gain = np.empty(0)
        known: set[bytes] = set()
        for _ in range(ROUNDS + 1):
            fresh = self._admit(start, fresh, known, rng)
            if len(fresh):
                pool = np.concatenate([pool, fresh])
                gain = np.concatenate([gain, front.gain(beliefs, fresh, self._problem)])
            if len(pool) == 0:
                break
            top = pool[_best_first(gain)[:PARENTS]]
            couples = np.concatenate([top, best])
            one, two = rng.integers(len(couples), size=(2, CHILDREN // 2))
            fresh = np.concatenate(
                [
                    evolution.mutate(top[rng.integers(len(top), size=CHILDREN)], choices, rng),
                    evolution.crossover(couples[one], couples[two], rng),
                    evolution.neighbours(top[0], choices),
                ]
            )
        return pool, gain

    def _admit(
        self, start: int, fresh: Indices, known: set[bytes], rng: np.random.Generator
    ) -> Indices:
        """Repaired, distinct, unseen as of ``start``, and not in the pool yet."""
        repaired = evolution.distinct(self._problem.repair(fresh, rng))
        return self._history.admit(repaired, known, before=start)


@dataclass(frozen=True)
class _Front:
    """The front that gains are counted from: losses (f, m), the metrics first."""

    losses: Losses
    metrics: int

    def gain(
        self, beliefs: list[Posterior], subnets: Indices, problem: SearchProblem
    ) -> NDArray[np.float64]:
        """The expected hypervolume improvement of each subnet: shape (n,)."""
        marginals = [belief.marginal(subnets) for belief in beliefs]
        return self.gain_at(marginals, problem.cost_losses(subnets))

    def gain_at(
        self,
        marginals: list[tuple[NDArray[np.float64], NDArray[np.float64]]],
        costs: Losses,
    ) -> NDArray[np.float64]:
        """As `gain`, of subnets with these predicted metrics and exact ``costs`` (n, k).

        The first metric is integrated over exactly; others are taken at a few quantiles each, in
        which they stand beside the costs as if they were known.
        """
        (mean, std), *others = marginals
        if not others:
            return expected_improvement(mean, std, costs, self.losses)
        total = np.zeros(len(mean))
        for index in range(len(QUANTILES)):
            sampled = [
                m + s * QUANTILES[(index * (2 * position + 1)) % len(QUANTILES)]
                for position, (m, s) in enumerate(others)
            ]
            total += expected_improvement(
                mean, std, np.column_stack([*sampled, costs]), self.losses
            )
        return total / len(QUANTILES)


def _apart(
    shortlist: Indices,
    pending: Indices,
    front: _Front,
    beliefs: list[Posterior],
    problem: SearchProblem,
    wanted: int,
) -> Indices:
    """The best of a shortlist one after the other, each as if those before were measured.

    What is pending, and then each one chosen, is believed to come out as predicted: the front
    moves on to it, and its neighbours become more certain.
    """
    joints = [belief.joint(np.concatenate([shortlist, pending])) for belief in beliefs]
    means = [mean for mean, _ in joints]
    covariances = [covariance.copy() for _, covariance in joints]
    costs = problem.cost_losses(shortlist)
    left = np.ones(len(shortlist), dtype=bool)
    losses = front.losses
    chosen: list[int] = []
    given = list(range(len(shortlist), len(shortlist) + len(pending)))
    while len(chosen) < wanted and left.any():
        for point in given:
            for covariance, belief in zip(covariances, beliefs, strict=True):
                column = covariance[:, point].copy()
                covariance -= np.outer(column, column) / (column[point] + belief.noise)
        count = len(shortlist)
        marginals = [
            (mean[:count], np.sqrt(np.maximum(np.diag(covariance)[:count], 0.0)))
            for mean, covariance in zip(means, covariances, strict=True)
        ]
        gain = _Front(losses, front.metrics).gain_at(marginals, costs)
        best = int(_best_first(np.where(left, gain, -1.0))[0])
        left[best] = False
        chosen.append(best)
        given = [best]
        believed = np.array([*(mean[best] for mean in means), *costs[best]])
        losses = np.vstack([losses, believed])
        losses = losses[non_dominated(losses)]
    return shortlist[chosen]


def block_length(number: int) -> int:
    """How many numbers share one plan: each its own at first, while every result tells much."""
    for bound, length in ((64, 1), (128, 2), (256, 4), (512, 8)):
        if number < bound:
            return length
    return 16


def explores(number: int, share: float) -> bool:
    """Whether this number is one of the ``share`` that explore, evenly spread over all numbers."""
    return int((number + 1) * share) > int(number * share)


def tuning_point(measured: int) -> int:
    """How many of the results hyperparameters are tuned on: the last of 4, 6, 8, 12, 16, ...

    Fixed points, so that a rebuilt strategy tunes once and comes to the same values.
    """
    power = 1 << max(measured, 4).bit_length() - 1
    return power + power // 2 if measured >= power + power // 2 else power


def _without_outliers(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Losses with a collapsed subnet's drawn in, so that it does not bend the whole regression."""
    low, high = np.quantile(losses, [0.25, 0.75])
    return np.asarray(np.minimum(losses, high + 4 * max(high - low, 1e-6)))


def _best_first(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """Positions by falling score (n,), blind to the last bits of arithmetic."""
    with np.errstate(divide="ignore"):
        digits = np.floor(np.log10(np.abs(scores), where=scores != 0, out=np.zeros(len(scores))))
    scale = 10.0 ** (9 - np.clip(digits, -200, 200))
    return np.asarray(np.argsort(-(np.round(scores * scale) / scale), kind="stable"))
