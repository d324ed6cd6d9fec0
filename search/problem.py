"""What a strategy may know before any evaluation: the space, the objectives and every cost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.costs import CostModel
from elasticnas.api_schemas.searches import Constraint
from elasticnas.search.activity import Indices
from elasticnas.search.cost_table import CostTable
from elasticnas.search.evolution import Choices
from elasticnas.search.feasible import Feasible, with_references
from elasticnas.search.objectives import Objectives
from elasticnas.search.pareto import Losses
from elasticnas.search.space import SearchSpace
from elasticnas.tasks import METRICS


class SearchProblem:
    """A search as its strategy sees it; subnets are rows of choice indices, shape (n, dimensions).

    ``rows`` is the number of validation rows behind each metric, None when it is not known.
    """

    def __init__(
        self,
        space: SearchSpace,
        cost_model: CostModel,
        max_length: int,
        objectives: Objectives,
        constraints: Sequence[Constraint] = (),
        rows: int | None = None,
    ) -> None:
        self.space = space
        self.constraints = tuple(constraints)
        self.rows = rows
        self._cost_model = cost_model
        self._max_length = max_length
        self._objectives = objectives

    @cached_property
    def objectives(self) -> Objectives:
        """The objectives, with the reference point that the constraints leave if they had none."""
        if self._objectives.references is not None:
            return self._objectives
        return with_references(self._objectives, self.feasible)

    @cached_property
    def feasible(self) -> Feasible:
        """The subnets that satisfy the constraints."""
        return Feasible(self.space, self._costs, self.constraints)

    @cached_property
    def _costs(self) -> CostTable:
        return CostTable(self.space, self._cost_model, self._max_length)

    @cached_property
    def choices(self) -> Choices:
        """How many choices each dimension has, and which are ordered."""
        return Choices.of(self.space)

    @cached_property
    def is_metric(self) -> NDArray[np.bool_]:
        """Which of the losses come from a measurement, shape (m,)."""
        return np.array([name in self.objectives.metrics for name in self.objectives.names])

    def cost_losses(self, indices: Indices) -> Losses:
        """The losses that are known without an evaluation, shape (n, m - metrics), in order."""
        names = self.objectives.costs
        if not names:
            return np.empty((len(indices), 0))
        scale = [self.objectives.reference_point[name.value] for name in names]
        return np.asarray(self._costs.of(indices, names) / np.array(scale))

    def are_feasible(self, indices: Indices) -> NDArray[np.bool_]:
        """Which subnets satisfy every constraint, shape (n,)."""
        return self.feasible.mask(indices)

    def canonical(self, indices: Indices) -> Indices:
        """The same subnets (n, dimensions), inactive dimensions at their first choice."""
        return self.space.activity.canonical(indices)

    def repair(self, indices: Indices, rng: np.random.Generator) -> Indices:
        """Feasible subnets near any others: random dimensions change until all constraints hold.

        A dimension that makes subnets cheaper with each step shrinks by one; another one takes any
        choice. Where all shrink, the minimal subnet ends this at the latest; elsewhere, after as
        many steps as could lead there, feasible subnets are drawn instead.
        """
        repaired = self.canonical(indices).copy()
        broken = np.flatnonzero(~self.are_feasible(repaired))
        counts, shrinks = self.choices.counts, self.feasible.shrinks
        for _ in range(int(counts.sum())):
            if len(broken) == 0:
                break
            movable = ~shrinks | (repaired[broken] < counts - 1)
            dimension = np.argmax(rng.random(movable.shape) * movable, axis=1)
            changed = repaired[broken, dimension] + 1
            if not self.feasible.is_monotone:
                anything = np.floor(rng.random(len(broken)) * counts[dimension]).astype(np.intp)
                changed = np.where(shrinks[dimension], changed, anything)
            repaired[broken, dimension] = np.minimum(changed, counts[dimension] - 1)
            broken = broken[~self.are_feasible(repaired[broken])]
        if len(broken):
            repaired[broken] = self.feasible.draws(len(broken), rng)
        return self.canonical(repaired)

    def noise_variance(self, metric: int, losses: NDArray[np.float64]) -> float | None:
        """The mean sampling variance of the ``metric``-th metric's losses, at these (n,)."""
        if self.rows is None:
            return None
        name = self.objectives.metrics[metric]
        return float(np.mean(METRICS[name].loss_error(losses, self.rows) ** 2))
