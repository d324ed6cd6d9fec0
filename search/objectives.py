"""Objectives by name, turned into normalised losses for the optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from elasticnas.api_schemas.costs import Cost, CostReport
from elasticnas.api_schemas.searches import is_cost
from elasticnas.search.pareto import Losses
from elasticnas.tasks import METRICS

REFERENCE_MARGIN = 0.1
"""The reference point lies this share of a span beyond the dearest subnet, so that this subnet
still contributes to the hypervolume (Ishibuchi et al. 2018, "How to Specify a Reference Point")."""


@dataclass(frozen=True)
class Objectives:
    """Two or three objectives, and the scale that makes them comparable.

    The loss of a metric is its way from the ideal as a share of that to the worst (`Metric.loss`);
    the loss of a cost is its share of the reference point. The reference point is the worst of each
    metric and the ``references`` of the costs, so in losses it is (1, ..., 1), the ideal point is
    (0, ..., 0), and a hypervolume lies between 0 and 1.

    A cost that ``references`` leaves out has 1.1 times the maximal subnet's. Where constraints are
    in the way of that subnet, ``references`` lie beyond the dearest feasible one: gains are not
    counted from costs that no subnet of the search may have. None: `search.feasible` is to say.
    """

    names: tuple[str, ...]
    maximal_cost: CostReport
    references: Mapping[str, float] | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The objectives that are measured, in order."""
        return tuple(name for name in self.names if not is_cost(name))

    @property
    def costs(self) -> tuple[Cost, ...]:
        """The objectives that are known in advance, in order."""
        return tuple(Cost(name) for name in self.names if is_cost(name))

    @property
    def reference_point(self) -> dict[str, float]:
        """The worst corner of the hypervolume's box, in the objectives' own units."""
        return {str(name): self._reference(name) for name in self.names}

    @property
    def reference(self) -> Losses:
        """The reference point in losses, shape (m,): all ones."""
        return np.ones(len(self.names))

    def losses(self, metrics: Mapping[str, float], cost: Mapping[str, int | float]) -> Losses:
        """The losses of one evaluation, shape (m,)."""
        return np.array(
            [
                cost[name] / self._reference(name)
                if is_cost(name)
                else METRICS[name].loss(metrics[name])
                for name in self.names
            ]
        )

    def failure_losses(self, cost: Mapping[str, int | float]) -> Losses:
        """What a strategy is told of a failed evaluation: the cost is real, the metrics worst."""
        return self.losses({name: METRICS[name].worst for name in self.metrics}, cost)

    def reachable(self, cheapest: Mapping[str, int | float]) -> float:
        """The box that feasible subnets can fill, as a share of the same box without constraints.

        It ends at the ``cheapest`` costs there are. 1 when nothing constrains the search.
        """
        share = 1.0
        for name in self.costs:
            own, whole = self._reference(name), self._unconstrained(name)
            share *= (1.0 - cheapest[name.value] / own) / (1.0 - cheapest[name.value] / whole)
        return share

    def _reference(self, name: str) -> float:
        if not is_cost(name):
            return METRICS[name].worst
        return (self.references or {}).get(name) or self._unconstrained(name)

    def _unconstrained(self, name: str) -> float:
        whole = (1.0 + REFERENCE_MARGIN) * float(getattr(self.maximal_cost, name))
        return whole or 1.0  # what no subnet has any of is as good as reached by all
