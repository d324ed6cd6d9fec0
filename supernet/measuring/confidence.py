"""How far a subnet's metrics may be off, and its difference to the maximal subnet's.

By the paired bootstrap: every subnet is scored on the same resamples of the rows, so that what
makes rows easy or hard cancels out of a difference (Efron & Tibshirani 1993, "An Introduction to
the Bootstrap", ch. 13, percentile intervals; Berg-Kirkpatrick et al. 2012, "An Empirical
Investigation of Statistical Significance in NLP", section 2).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.verification import Interval, Verified
from elasticnas.tasks import Task
from elasticnas.tasks.metric import Values
from elasticnas.tasks.task import Outcomes

RESAMPLES = 1000
CONFIDENCE = 0.95
SEED = 0
CELLS = 2**23
"""Numbers of how many resamples are in memory at once: 64 MB an array."""


def scores(task: Task, outcomes: Outcomes) -> Scores:
    """Every metric of a subnet, on all rows (rows,) and on each resample of them."""
    rows = len(outcomes)
    resamples = np.random.default_rng(SEED).integers(rows, size=(RESAMPLES, rows))
    drawn = resampled(task, outcomes, resamples)
    return {name: Score(value, drawn[name]) for name, value in task.measure(outcomes).items()}


def resampled(task: Task, outcomes: Outcomes, resamples: NDArray[np.int64]) -> dict[str, Values]:
    """Every metric on each resample, shape (resamples,).

    ``outcomes`` (rows,) are of all rows; ``resamples`` has the row numbers of each resample, shape
    (resamples, rows). Many together are nearly as fast as one.
    """
    at_once = max(1, CELLS // task.width(outcomes))
    parts = [
        task.values(outcomes.take(rows))  # of records, several times as fast as an index
        for rows in np.split(resamples, range(at_once, len(resamples), at_once))
    ]
    return {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}


def verified(rows: int, found: Scores, maximal: Scores) -> Verified:
    """The scores of a subnet with their intervals, and beside those of the maximal subnet."""
    return Verified(
        rows=rows,
        metrics={name: score.interval() for name, score in found.items()},
        versus_maximal={
            name: score.minus(maximal[name]).interval() for name, score in found.items()
        },
    )


@dataclass(frozen=True)
class Score:
    """A metric on all rows, and on each resample of them, shape (resamples,)."""

    value: float
    drawn: Values

    def minus(self, other: Score) -> Score:
        """The difference, resample by resample."""
        return Score(self.value - other.value, self.drawn - other.drawn)

    def packed(self) -> str:
        """The resamples as they are kept: see `Resamples`."""
        return base64.b64encode(self.drawn.astype("<f4").tobytes()).decode()

    def interval(self) -> Interval:
        """The value between the percentiles of the resamples."""
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(self.drawn, [tail, 1 - tail])
        return Interval(value=self.value, low=float(low), high=float(high))


Scores = dict[str, Score]
"""By the metric's name."""
