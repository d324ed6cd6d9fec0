"""`boshnas`: second-order search over the input of a heteroscedastic surrogate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.strategies import BoshnasSettings
from elasticnas.search import evolution
from elasticnas.search.activity import Indices
from elasticnas.search.improvement import expected_improvement
from elasticnas.search.pareto import Losses
from elasticnas.search.problem import SearchProblem
from elasticnas.search.space import SubnetConfig
from elasticnas.search.strategies.design import stratified
from elasticnas.search.strategies.history import History, generator
from elasticnas.search.surrogates.descent import descend
from elasticnas.search.surrogates.embedding import Embedding, make_embedding
from elasticnas.search.surrogates.features import Features
from elasticnas.search.surrogates.heteroscedastic import Fit, Heteroscedastic

FEWEST_MEASURED = 4
"""With fewer measurements there is nothing to fit."""
BLOCK = 5
"""How many numbers share one fit, which takes half a second of a processor."""
ELSEWHERE = 128
"""Subnets that were not measured, where the student learns what is not known."""
PARENTS = 10
CHILDREN = 160
STARTS = 5
"""Descents from the best subnets, and as many from random ones."""
STEPS = 20
DOUBT = 0.5
"""By how much of its epistemic deviation a subnet may turn out better, while descending."""
MOVES = 3
"""Rounds of one-dimension moves from the most promising candidates."""


class BoshnasStrategy:
    """BOSHNAS (Tuli et al. 2023, "FlexiBERT", section 3.3), repaired for many objectives.

    Of every metric a `Heteroscedastic` surrogate is fitted to what was told. GOBI (Tuli et al.
    2021) descends on its lower bound over the relaxed input, from the best subnets and from random
    ones, each under a weighting of metrics and costs of its own (ParEGO, Knowles 2006). Published,
    the nearest subnet to each end point is proposed. Repaired, these and their neighbours join
    mutations and crosses of the best; of all that are new, those are proposed whose expected
    improvement of the hypervolume is the largest, at exact costs. A plan is made for a block of
    numbers at a time, from what had been told when its first one began.
    """

    block = BLOCK

    def __init__(self, settings: BoshnasSettings, problem: SearchProblem, *, seed: int) -> None:
        self._settings = settings
        self._problem = problem
        self._seed = seed
        self._history = History(problem.space, len(problem.is_metric))
        self._embedding = make_embedding(settings.embedding, problem.space)
        self._design: Indices | None = None
        self._planned: tuple[int, Indices] | None = None

    def ask(self, number: int, attempt: int) -> SubnetConfig | None:
        """See `Strategy.ask`; never None."""
        rng = generator(self._seed, number, f"ask{attempt}")
        candidates = self._candidates(number)
        unseen = candidates[self._history.is_unseen(candidates)]
        if len(unseen) == 0:
            unseen = self._random(1, rng)
        return self._problem.space.decode(unseen[0].tolist())

    def begin(self, number: int, subnet: SubnetConfig) -> None:
        """See `Strategy.begin`."""
        self._history.begin(number, subnet)

    def tell(self, number: int, losses: Losses, *, failed: bool) -> None:
        """See `Strategy.tell`. What is no number was not measured."""
        measured = bool(np.isfinite(losses).all())
        self._history.tell(number, losses, failed=failed or not measured)

    def _candidates(self, number: int) -> Indices:
        """What may be proposed for ``number``, the best first."""
        size = self._settings.initial_design
        if number < size:
            if self._design is None:
                rng = generator(self._seed, 0, "design")
                self._design = stratified(self._problem, size, rng)
            return self._design
        start = max(number - number % self.block, size)
        if self._planned is None or self._planned[0] != start:
            self._planned = (start, self._plan(start))
        return self._planned[1]

    def _random(self, count: int, rng: np.random.Generator) -> Indices:
        counts = self._problem.choices.counts
        drawn = np.floor(rng.random((count, len(counts))) * counts).astype(np.intp)
        return self._problem.repair(drawn, rng)

    def _plan(self, start: int) -> Indices:
        """Subnets for the numbers from ``start``, in the order they should be tried."""
        rng = generator(self._seed, start, "plan")
        subnets, losses = self._history.measured(self._history.told_before(start))
        if len(subnets) < FEWEST_MEASURED:
            return self._random(4 * BLOCK, rng)
        belief = _Belief(
            [
                self._fit(subnets, losses[:, column], rng)
                for column in np.flatnonzero(self._problem.is_metric)
            ],
            self._embedding,
            self._problem,
        )
        best = subnets[_best(losses)]
        ends = self._ends(belief, best, rng)
        if self._settings.proposal == "published":
            return self._admit(start, ends, set(), rng)
        return self._improving(start, belief, losses, best, ends, rng)

    def _fit(
        self, subnets: Indices, losses: NDArray[np.float64], rng: np.random.Generator
    ) -> Heteroscedastic:
        elsewhere = self._embedding.own(self._random(ELSEWHERE, rng))
        low, high = np.quantile(losses, [0.25, 0.75])
        # What collapsed is drawn in, so that it does not bend the whole regression.
        values = np.minimum(losses, high + 2 * max(high - low, 1e-6))
        settings = self._settings
        fit = Fit(heteroscedastic=settings.heteroscedastic, student=settings.student)
        return Heteroscedastic(self._embedding.own(subnets), values, elsewhere, rng, fit)

    def _ends(self, belief: _Belief, best: Indices, rng: np.random.Generator) -> Indices:
        """Where GOBI's descents end, rounded to the nearest subnets."""
        published = self._settings.proposal == "published"
        known = best[: 0 if published else STARTS]
        starts = np.concatenate([known, self._random(2 * STARTS - len(known), rng)])
        features = self._embedding.own(starts)
        reference = self._embedding.own(self._random(ELSEWHERE, rng))
        bounds = (reference.min(axis=0), reference.max(axis=0))
        gradient = belief.weighted(self._random(2 * ELSEWHERE, rng), len(starts), rng)
        ends = descend(
            gradient,
            features,
            bounds,
            rng,
            steps=STEPS,
            rate=0.5,
            second_order=self._settings.second_order,
        )
        return self._embedding.nearest(ends)

    def _improving(
        self,
        start: int,
        belief: _Belief,
        losses: Losses,
        best: Indices,
        ends: Indices,
        rng: np.random.Generator,
    ) -> Indices:
        """New subnets with the largest expected improvement, each as if those before were told."""
        choices = self._problem.choices
        one, two = rng.integers(len(best), size=(2, CHILDREN // 2))
        fresh = np.concatenate(
            [
                ends,
                *(evolution.neighbours(end, choices) for end in ends[:STARTS]),
                evolution.mutate(best[rng.integers(len(best), size=CHILDREN)], choices, rng),
                evolution.crossover(best[one], best[two], rng),
                self._random(CHILDREN // 2, rng),
            ]
        )
        known: set[bytes] = set()
        pool = self._admit(start, fresh, known, rng)
        for _ in range(MOVES):
            if len(pool) == 0:
                return pool
            top = pool[_best_first(belief.gain(pool, losses))[:3]]
            moved = np.concatenate([evolution.neighbours(each, choices) for each in top])
            pool = np.concatenate([pool, self._admit(start, moved, known, rng)])
        chosen: list[int] = []
        left = np.ones(len(pool), dtype=bool)
        marginals = belief.marginals(pool)
        while len(chosen) < 3 * BLOCK and left.any():
            gain = belief.gain(pool, losses, marginals)
            top_one = int(_best_first(np.where(left, gain, -1.0))[0])
            chosen.append(top_one)
            left[top_one] = False
            losses = np.vstack([losses, belief.believed(pool[[top_one]])])
        return pool[chosen]

    def _admit(
        self, start: int, fresh: Indices, known: set[bytes], rng: np.random.Generator
    ) -> Indices:
        """Repaired, distinct, unseen as of ``start``, and not in the pool yet."""
        repaired = evolution.distinct(self._problem.repair(fresh, rng))
        return self._history.admit(repaired, known, before=start)


Marginals = list[tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True)
class _Belief:
    """What the surrogates of the metrics say, beside exact costs."""

    surrogates: list[Heteroscedastic]
    embedding: Embedding
    problem: SearchProblem

    def marginals(self, subnets: Indices) -> Marginals:
        """Mean and epistemic deviation of each metric's loss."""
        features = self.embedding.own(subnets)
        predicted = [each.predict(features) for each in self.surrogates]
        return [(mean, doubt) for mean, _, doubt in predicted]

    def believed(self, subnets: Indices) -> Losses:
        """The expected losses: shape (n, m)."""
        means = [mean for mean, _ in self.marginals(subnets)]
        return self._in_order(means, self.problem.cost_losses(subnets))

    def gain(
        self, subnets: Indices, losses: Losses, marginals: Marginals | None = None
    ) -> NDArray[np.float64]:
        """The expected improvement of the hypervolume over ``losses``, (n,).

        The first metric is integrated over; a second one is taken as expected. Where there is but
        one objective, a cost that all have for nothing stands beside it.
        """
        (mean, doubt), *others = marginals or self.marginals(subnets)
        costs = self.problem.cost_losses(subnets)
        exact = np.column_stack([*(m for m, _ in others), costs])
        first = int(np.flatnonzero(self.problem.is_metric)[0])
        rest = [i for i in np.argsort(~self.problem.is_metric, kind="stable") if i != first]
        front = losses[:, [first, *rest]]
        if exact.shape[1] == 0:
            exact = np.zeros((len(subnets), 1))
            front = np.column_stack([front, np.zeros(len(front))])
        return expected_improvement(mean, doubt, exact, front)

    def weighted(self, sample: Indices, starts: int, rng: np.random.Generator) -> _Weighted:
        """The slope of ``starts`` weighted sums; costs are relaxed by a linear fit on ``sample``.

        The fit only gives a direction: whatever it leads to is judged by its exact cost.
        """
        costs = self.problem.cost_losses(sample)
        features = self.embedding.own(sample)
        slopes = np.zeros((features.shape[1], costs.shape[1]))
        if costs.shape[1]:
            deviation = costs.std(axis=0)
            scaled = (costs - costs.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
            slopes = np.linalg.lstsq(features - features.mean(axis=0), scaled, rcond=1e-8)[0]
        weights = rng.dirichlet(np.ones(len(self.surrogates) + costs.shape[1]), size=starts)
        return _Weighted(self.surrogates, slopes, weights)

    def _in_order(self, metrics: list[NDArray[np.float64]], costs: Losses) -> Losses:
        losses = np.empty((len(costs), len(self.problem.is_metric)))
        losses[:, self.problem.is_metric] = np.column_stack(metrics)
        losses[:, ~self.problem.is_metric] = costs
        return losses


@dataclass(frozen=True)
class _Weighted:
    """The gradients of weighted sums of standardised bounds and costs, one sum for each point."""

    surrogates: list[Heteroscedastic]
    slopes: NDArray[np.float64]
    weights: NDArray[np.float64]

    def __call__(self, points: Features) -> Features:
        """At points (n, d), as many as there are weights: the same shape."""
        count = len(self.surrogates)
        total = self.weights[:, count:] @ self.slopes.T
        for position, surrogate in enumerate(self.surrogates):
            total = total + self.weights[:, [position]] * surrogate.gradient(points, DOUBT)
        return total


def _best(losses: Losses) -> NDArray[np.intp]:
    """The positions of the best (at most `PARENTS`) of losses (n, m), the best first."""
    if losses.shape[1] == 1:
        return np.argsort(losses[:, 0], kind="stable")[:PARENTS]
    return evolution.survivors(losses, PARENTS)


def _best_first(scores: NDArray[np.float64]) -> NDArray[np.intp]:
    """Positions by falling score (n,)."""
    return np.asarray(np.argsort(-scores, kind="stable"))
