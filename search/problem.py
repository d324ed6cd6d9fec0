"""What a strategy may know before any evaluation: the space, the objectives and every cost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.costs import CostModel
from elasticnas.api_schemas.searches import Constraint
from elasticnas.search.cost_table import CostTable, Indices
from elasticnas.search.evolution import Choices
from elasticnas.search.feasible import Feasible, with_references
from elasticnas.search.objectives import Objectives
from elasticnas.search.pareto import Losses
from elasticnas.search.space import SearchSpace
from elasticnas.tasks import METRICS


class SearchProblem:
    """A search as its strategy sees it; subnets are rows of choice indices, shape (n, dimensions).

    ``rows`` is the number of validation rows behind each metric, None when it is not known. The
    reference point of its ``objectives`` is the one under the constraints.
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
        self._costs = CostTable(space, cost_model, max_length)
        self.feasible = Feasible(space, self._costs, self.constraints)
        self.objectives = with_references(objectives, self.feasible)

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
        """Shrink random dimensions, a step at a time, until every subnet is feasible.

        Costs fall with every choice and the minimal subnet is feasible, so this ends.
        """
        repaired = self.canonical(indices).copy()
        broken = np.flatnonzero(~self.are_feasible(repaired))
        while len(broken):
            shrinkable = repaired[broken] < self.choices.counts - 1
            dimension = np.argmax(rng.random(shrinkable.shape) * shrinkable, axis=1)
            repaired[broken, dimension] += 1
            broken = broken[~self.are_feasible(repaired[broken])]
        return repaired

    def noise_variance(self, metric: int, losses: NDArray[np.float64]) -> float | None:
        """The mean sampling variance of the ``metric``-th metric at these losses (n,)."""
        if self.rows is None:
            return None
        name = self.objectives.metrics[metric]
        return float(np.mean(METRICS[name].standard_error(1.0 - losses, self.rows) ** 2))
