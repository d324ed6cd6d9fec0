"""A search problem whose true answers are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.costs import Cost, CostModel
from elasticnas.api_schemas.searches import Constraint
from elasticnas.search.cost import cost_report
from elasticnas.search.cost_table import CostTable
from elasticnas.search.feasible import Feasible
from elasticnas.search.objectives import REFERENCE_MARGIN, Objectives
from elasticnas.search.pareto import Losses, ParetoArchive, hypervolume
from elasticnas.search.space import SearchSpace, SubnetConfig

Bounds = Mapping[Cost, float]
"""Upper bounds on costs, as shares of the maximal subnet's."""


@dataclass(frozen=True)
class Problem:
    """Accuracy against GFLOPs over a space.

    ``measure`` is what a search is told of a subnet, ``truth`` what it is judged by. ``front``
    (f, 2) holds the best losses that are feasible, or the best that are known: 1 - accuracy, and
    GFLOPs as a share of 1.1 times the maximal subnet's, whatever the ``constraints``.
    """

    name: str
    space: SearchSpace
    cost_model: CostModel
    max_length: int
    rows: int
    measure: Callable[[SubnetConfig], float]
    truth: Callable[[SubnetConfig], float]
    front: Losses
    constraints: tuple[Constraint, ...] = ()

    @property
    def objectives(self) -> Objectives:
        """As a search over this space has them."""
        maximal = cost_report(self.cost_model, self.space.maximal, self.max_length)
        return Objectives(("accuracy", Cost.GFLOPS), maximal)

    @property
    def reference(self) -> Losses:
        """The worst corner: a tenth beyond the worst accuracy on the front, and all of the cost.

        Under constraints the cost of the dearest on the front. A search's own hypervolume reaches
        down to accuracy 0, where no subnet is: all strategies would look alike. This one spans
        what can be reached.
        """
        worst, best = self.front[:, 0].max(), self.front[:, 0].min()
        dearest = self.front[:, 1].max() if self.constraints else 1.0
        return np.array([worst + 0.1 * (worst - best), dearest])

    def normalised_hypervolume(self, losses: Losses) -> float:
        """Of evaluated subnets' true losses (n, 2): the share of what the best front covers."""
        return hypervolume(losses, self.reference) / hypervolume(self.front, self.reference)

    def true_losses(self, subnets: Sequence[SubnetConfig]) -> Losses:
        """The losses of subnets that were evaluated, shape (n, 2), without the noise."""
        maximal = cost_report(self.cost_model, self.space.maximal, self.max_length).gflops
        scale = (1 + REFERENCE_MARGIN) * maximal
        costs = [cost_report(self.cost_model, each, self.max_length).gflops for each in subnets]
        truths = [self.truth(each) for each in subnets]
        return np.column_stack([1 - np.array(truths), np.array(costs) / scale])


def constraints_of(
    bounds: Bounds, space: SearchSpace, cost_model: CostModel, max_length: int
) -> tuple[Constraint, ...]:
    """Bounds as a search takes them."""
    maximal = cost_report(cost_model, space.maximal, max_length).values()
    return tuple(Constraint(cost=c, max=share * maximal[c.value]) for c, share in bounds.items())


def front_of_all(
    space: SearchSpace,
    table: CostTable,
    losses: NDArray[np.float64],
    constraints: Sequence[Constraint],
) -> Losses:
    """The best feasible losses in a space that is walked through: see `Problem.front`.

    ``losses`` (space size,) of accuracy are those of all subnets, the maximal one's first.
    """
    axes = np.indices(space.cardinalities)
    everything = np.stack([axis.ravel() for axis in axes], axis=1).astype(np.intp)
    costs = table.of(everything, [Cost.GFLOPS])[:, 0]
    both = np.column_stack([losses, costs / ((1 + REFERENCE_MARGIN) * costs.max())])
    both = both[Feasible(space, table, constraints).mask(everything)]
    archive = ParetoArchive(np.ones(2))
    for number in np.lexsort(both.T):
        archive.add(int(number), both[number])
    return archive.losses
