"""What a metric is: which way is better, between which values it lies, and how noisy it is."""

from __future__ import annotations

import math
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

    A loss is the way from the ideal as a share of that to the worst; where the metric
    ``is_logarithmic``, of ``log(1 + way)``: a log-likelihood may be -2 here and -200 there, and a
    tenth more or less should matter as much.
    """

    name: str
    ideal: float
    worst: float
    standard_error: Callable[[Values, int], Values]
    is_logarithmic: bool = False

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
        way = (value - self.ideal) / (self.worst - self.ideal)
        if not self.is_logarithmic or way <= 0:
            return way
        whole = abs(self.worst - self.ideal)
        return math.log1p(way * whole) / math.log1p(whole)

    def loss_error(self, losses: Values, rows: int) -> Values:
        """The `standard_error` of losses (n,), each measured on so many rows: shape (n,).

        By the delta method where the metric is logarithmic.
        """
        way = self.worst - self.ideal
        if not self.is_logarithmic:
            return np.asarray(self.standard_error(self.ideal + way * losses, rows) / abs(way))
        scale = math.log1p(abs(way))
        distance = np.expm1(np.maximum(losses, 0.0) * scale)
        error = self.standard_error(self.ideal + math.copysign(1.0, way) * distance, rows)
        return np.asarray(error / (1.0 + distance) / scale)


METRICS: Registry[Metric] = Registry("metric")
"""Every metric of every task."""
