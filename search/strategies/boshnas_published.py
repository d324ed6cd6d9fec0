"""`boshnas` with ``form: published``: the whole policy as it was published and coded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.strategies import BoshnasSettings
from elasticnas.search.activity import Indices
from elasticnas.search.pareto import Losses
from elasticnas.search.problem import SearchProblem
from elasticnas.search.strategies.boshnas import DOUBT, BoshnasStrategy
from elasticnas.search.strategies.history import generator
from elasticnas.search.surrogates.descent import descend
from elasticnas.search.surrogates.published_nets import PublishedNets

STARTS = 10
STEPS = 200
LIBRARY = 256
"""Random subnets that bound the descents, and of which one may be the most uncertain."""
OPTIMISED, UNCERTAIN = 0.8, 0.1
"""The shares of rounds; in what is left a random subnet is proposed."""
ROUNDS = 5
"""Of which a plan is made at most; what is missing then is drawn."""
STALLED = 5
"""Plans without a better best, from which on the noise counts as well."""


class PublishedBoshnasStrategy(BoshnasStrategy):
    """BOSHNAS as in Tuli et al. 2023, section 3.3, and in jha-lab/boshnas (c8060d3).

    One loss, as a share of the largest of the first ones told; several are added up with equal
    weights, as EdgeTran (Tuli & Jha 2023) does with fixed ones. After every ten numbers the nets
    train on. Then follow rounds: in eight of ten GOBI descends from ten random subnets on mean
    - 0.5 * doubt, and the nearest subnets to where it ends are proposed; in one the subnet with the
    largest doubt; in one a random one. What was evaluated is not evaluated again, so that rounds
    whose subnets are known propose nothing.
    """

    block = STARTS

    def __init__(self, settings: BoshnasSettings, problem: SearchProblem, *, seed: int) -> None:
        embedding = settings.embedding or "transformer2vec"
        super().__init__(settings.model_copy(update={"embedding": embedding}), problem, seed=seed)
        columns = self._embedding.own(np.zeros((1, len(problem.choices.counts)), dtype=np.intp))
        self._nets = PublishedNets(columns.shape[1], generator(seed, 0, "nets"))
        self._fitted = settings.initial_design - 1

    def _plan(self, start: int) -> Indices:
        """See `BoshnasStrategy`: the fits of all earlier plans come first, each but once."""
        for number in self._starts(start):
            if number > self._fitted:
                self._train(number)
                self._fitted = number
        rng = generator(self._seed, start, "rounds")
        known: set[bytes] = set()
        found = np.empty((0, len(self._problem.choices.counts)), dtype=np.intp)
        noise = DOUBT if self._stalled(start) >= STALLED else 0.0
        for _ in range(ROUNDS):
            if len(found) >= self.block:
                break
            found = np.concatenate([found, self._admit(start, self._round(noise, rng), known, rng)])
        return np.concatenate([found, self._admit(start, self._random(LIBRARY, rng), known, rng)])

    def _starts(self, start: int) -> list[int]:
        """The first numbers of all plans up to this one's."""
        size = self._settings.initial_design
        return [size, *(n for n in range(self.block, start + 1, self.block) if n > size)]

    def _told(self, number: int) -> tuple[Indices, NDArray[np.float64]]:
        """Subnets and their losses, added up, as of this number."""
        subnets, losses = self._history.measured(self._history.told_before(number))
        return subnets, summed(losses)

    def _train(self, number: int) -> None:
        subnets, losses = self._told(number)
        if len(subnets) == 0:
            return
        scale = float(losses[: self._settings.initial_design].max()) or 1.0
        rng = generator(self._seed, number, "train")
        self._nets.fit(self._embedding.own(subnets), losses / scale, rng)

    def _stalled(self, start: int) -> int:
        """How many plans in a row have found nothing better."""
        best = [self._told(number)[1].min(initial=np.inf) for number in self._starts(start)]
        latest = max((i for i in range(1, len(best)) if best[i] < best[i - 1]), default=0)
        return len(best) - 1 - latest

    def _round(self, noise: float, rng: np.random.Generator) -> Indices:
        drawn = rng.random()
        library = self._random(LIBRARY, rng)
        if drawn >= OPTIMISED + UNCERTAIN:
            return library[:1]
        points = self._embedding.own(library)
        if drawn >= OPTIMISED:
            return library[[int(np.argmax(self._nets.doubt(points)))]]
        ends = descend(
            lambda x: self._nets.gradient(x, DOUBT, noise),
            points[:STARTS],
            (points.min(axis=0), points.max(axis=0)),
            rng,
            steps=STEPS,
            rate=0.5,
            second_order=self._settings.second_order,
            value=lambda x: self._nets.bound(x, DOUBT, noise),
        )
        return self._embedding.nearest(ends)


def summed(losses: Losses) -> NDArray[np.float64]:
    """One loss of several (n, m), of equal weights: shape (n,)."""
    return np.asarray(losses.mean(axis=1))
