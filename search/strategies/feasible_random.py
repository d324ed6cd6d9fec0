"""`random` under constraints: uniform over the feasible subnets."""

from __future__ import annotations

from elasticnas.search.activity import Indices
from elasticnas.search.pareto import Losses
from elasticnas.search.problem import SearchProblem
from elasticnas.search.space import SubnetConfig
from elasticnas.search.strategies.history import generator

BLOCK = 64
"""How many numbers share one round of draws: so many at once cost little more than one."""


class FeasibleRandomStrategy:
    """Draws feasible subnets (see `Feasible.draws`) and learns nothing.

    Uniform draws over the whole space, repaired, would nearly all end at the bound.
    """

    def __init__(self, problem: SearchProblem, *, seed: int) -> None:
        self._problem = problem
        self._seed = seed
        self._drawn: tuple[tuple[int, int], Indices] | None = None

    def ask(self, number: int, attempt: int) -> SubnetConfig | None:
        """See `Strategy.ask`; never None."""
        block, place = divmod(number, BLOCK)
        if self._drawn is None or self._drawn[0] != (block, attempt):
            rng = generator(self._seed, block, f"ask{attempt}")
            self._drawn = ((block, attempt), self._problem.feasible.draws(BLOCK, rng))
        return self._problem.space.decode(self._drawn[1][place].tolist())

    def begin(self, number: int, subnet: SubnetConfig) -> None:
        """See `Strategy.begin`: of no use here."""

    def tell(self, number: int, losses: Losses, *, failed: bool) -> None:
        """See `Strategy.tell`: of no use here."""
