"""A search problem whose true answers are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from api_schemas.costs import Cost, CostModel
from api_schemas.metrics import Metric
from search.cost import cost_report
from search.objectives import Objectives
from search.pareto import Losses, hypervolume
from search.space import SearchSpace, SubnetConfig


@dataclass(frozen=True)
class Problem:
    """Accuracy against GFLOPs over a space.

    ``measure`` is what a search is told of a subnet, ``truth`` what it is judged by. ``front``
    (f, 2) holds the best losses there are, or the best that are known.
    """

    name: str
    space: SearchSpace
    cost_model: CostModel
    max_length: int
    rows: int
    measure: Callable[[SubnetConfig], float]
    truth: Callable[[SubnetConfig], float]
    front: Losses

    @property
    def objectives(self) -> Objectives:
        """As a search over this space has them."""
        maximal = cost_report(self.cost_model, self.space.maximal, self.max_length)
        return Objectives((Metric.ACCURACY, Cost.GFLOPS), maximal)

    @property
    def reference(self) -> Losses:
        """The worst corner: a tenth beyond the worst accuracy on the front, and all of the cost.

        A search's own hypervolume reaches down to accuracy 0, where no subnet is: all strategies
        would look alike. This one spans what can be reached.
        """
        worst, best = self.front[:, 0].max(), self.front[:, 0].min()
        return np.array([worst + 0.1 * (worst - best), 1.0])

    def normalised_hypervolume(self, losses: Losses) -> float:
        """Of evaluated subnets' true losses (n, 2): the share of what the best front covers."""
        return hypervolume(losses, self.reference) / hypervolume(self.front, self.reference)

    def true_losses(self, subnets: Sequence[SubnetConfig]) -> Losses:
        """The losses of subnets that were evaluated, shape (n, 2), without the noise."""
        objectives = self.objectives
        return np.array(
            [
                objectives.losses(
                    {"accuracy": self.truth(subnet)},
                    cost_report(self.cost_model, subnet, self.max_length).values(),
                )
                for subnet in subnets
            ]
        )
