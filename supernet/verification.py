"""Measuring chosen subnets once more, on rows that had no part in choosing them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from elasticnas.api_schemas.verification import Interval, RowSplit, Verified
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.batching import batches_for
from elasticnas.supernet.evaluation import subnet_logits
from elasticnas.supernet.examples import Batch, TokenizedExamples
from elasticnas.supernet.metrics import task_metrics
from elasticnas.supernet.resampling import resampled_metrics
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TEXT_REGRESSION, Task

RESAMPLES = 1000
CONFIDENCE = 0.95
SEED = 0


def rows_of(split: RowSplit, labels: torch.Tensor, task: Task) -> list[int]:
    """The rows of one part of a split, in the order of the dataset.

    Of every class the same share, by scikit-learn's stratified split; of a regression, or where a
    class has too few rows to be split, of all rows alike.
    """
    numbers = np.arange(len(labels))
    classes: NDArray[np.generic] | None = None if task is TEXT_REGRESSION else labels.numpy()
    try:
        parts = train_test_split(
            numbers, test_size=split.share, random_state=SEED, stratify=classes
        )
    except ValueError:
        parts = train_test_split(numbers, test_size=split.share, random_state=SEED)
    chosen = parts[1] if split.part == "verification" else parts[0]
    return sorted(int(row) for row in chosen)


def verify(
    supernet: Supernet,
    subnets: Sequence[SubnetConfig],
    examples: TokenizedExamples,
    task: Task,
    *,
    token_budget: int,
) -> list[Verified]:
    """Metrics of each subnet with confidence intervals, and against the maximal subnet.

    By the paired bootstrap: every subnet is scored on the same resamples of the rows, so that what
    makes rows easy or hard cancels out of a difference (Efron & Tibshirani 1993, "An Introduction
    to the Bootstrap", ch. 13, percentile intervals; Berg-Kirkpatrick et al. 2012, "An Empirical
    Investigation of Statistical Significance in NLP", section 2).
    """
    verification = Verification(supernet, examples.labels, task)
    batches = batches_for(supernet, examples, token_budget)
    maximal = verification.score(supernet.space.maximal, batches)
    return [verification.compare(verification.score(each, batches), maximal) for each in subnets]


class Verification:
    """Scores subnets one by one on the same rows, and compares them; see `verify`.

    ``labels`` (rows,) stay on the CPU.
    """

    def __init__(self, supernet: Supernet, labels: torch.Tensor, task: Task) -> None:
        self._supernet = supernet
        self._labels = labels
        self._task = task
        count = len(labels)
        rng = np.random.default_rng(SEED)
        self._resamples: NDArray[np.int64] = rng.integers(count, size=(RESAMPLES, count))

    def score(
        self,
        subnet: SubnetConfig,
        batches: Sequence[Batch],
        is_unwanted: Callable[[], bool] = lambda: False,
    ) -> Scores:
        """Every metric of a subnet, on all rows and on each resample of them.

        ``batches`` of all rows lie on the super-network's device; ``is_unwanted`` is asked before
        each.

        Raises:
            EvaluationUnwantedError: nobody waits for the result any more.
        """
        logits = subnet_logits(
            self._supernet, subnet, batches, rows=len(self._labels), is_unwanted=is_unwanted
        )
        drawn = resampled_metrics(self._task, logits, self._labels, self._resamples)
        return {
            name: Score(value, drawn[name])
            for name, value in task_metrics(self._task, logits, self._labels).items()
        }

    def compare(self, found: Scores, maximal: Scores) -> Verified:
        """The scores of a subnet with their intervals, and beside those of the maximal subnet."""
        return Verified(
            rows=len(self._labels),
            metrics={name: score.interval() for name, score in found.items()},
            versus_maximal={
                name: score.minus(maximal[name]).interval() for name, score in found.items()
            },
        )


@dataclass(frozen=True)
class Score:
    """A metric on all rows, and on each resample of them, shape (resamples,)."""

    value: float
    drawn: NDArray[np.float64]

    def minus(self, other: Score) -> Score:
        """The difference, resample by resample."""
        return Score(self.value - other.value, self.drawn - other.drawn)

    def interval(self) -> Interval:
        """The value between the percentiles of the resamples."""
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(self.drawn, [tail, 1 - tail])
        return Interval(value=self.value, low=float(low), high=float(high))


Scores = dict[str, Score]
"""By the metric's name."""
