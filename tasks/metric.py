"""What a metric is: which way is better, between which values it lies, and how noisy it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.registry import Registry

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """A number that an evaluation measures.

    ``ideal`` is the best value there is and ``worst`` the one from which hypervolumes are counted;
    less is better where the ideal is below the worst.
    ``standard_error`` gives, for values (n,) of the metric, each measured on so many rows, how far
    they may be from what more rows would show, shape (n,).
    """

    name: str
    ideal: float
    worst: float
    standard_error: Callable[[Values, int], Values]

    @property
    def is_better_when_larger(self) -> bool:
        """False for a loss or a perplexity."""
        return self.ideal > self.worst

    @property
    def bound(self) -> str:
        """What a filter by this metric is called: ``min_accuracy``, ``max_perplexity``."""
        return f"{'min' if self.is_better_when_larger else 'max'}_{self.name}"

    def is_better(self, value: float, than: float) -> bool:
        """Whether one value surpasses another."""
        return value > than if self.is_better_when_larger else value < than

    def loss(self, value: float) -> float:
        """How far a value is from the ideal, as a share of the way to the worst: 0 is best.

        Above 1 for what is worse than the worst.
        """
        return (value - self.ideal) / (self.worst - self.ideal)

    def loss_error(self, losses: Values, rows: int) -> Values:
        """The `standard_error` of losses (n,), each measured on so many rows: shape (n,)."""
        way = self.worst - self.ideal
        return np.asarray(self.standard_error(self.ideal + way * losses, rows) / abs(way))


METRICS: Registry[Metric] = Registry("metric")
"""Every metric of every task."""
