"""Measuring chosen subnets once more, on rows that had no part in choosing them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from api_schemas.metrics import Task
from api_schemas.verification import Interval, RowSplit, Verified
from search.space import SubnetConfig
from supernet.batching import batches_for
from supernet.evaluation import subnet_logits
from supernet.examples import Batch, TokenizedExamples
from supernet.metrics import task_metrics
from supernet.resampling import resampled_metrics
from supernet.supernet import Supernet

RESAMPLES = 1000
CONFIDENCE = 0.95
SEED = 0


def rows_of(split: RowSplit, labels: torch.Tensor, task: Task) -> list[int]:
    """The rows of one part of a split, in the order of the dataset.

    Of every class the same share, by scikit-learn's stratified split; of a regression, or where a
    class has too few rows to be split, of all rows alike.
    """
    numbers = np.arange(len(labels))
    classes: NDArray[np.generic] | None = None if task is Task.REGRESSION else labels.numpy()
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
    batches = batches_for(supernet, examples, token_budget)
    rng = np.random.default_rng(SEED)
    count = len(examples)
    resamples: NDArray[np.int64] = rng.integers(count, size=(RESAMPLES, count))
    baseline = _scored(supernet, supernet.space.maximal, batches, examples.labels, task, resamples)
    verified = []
    for subnet in subnets:
        found = _scored(supernet, subnet, batches, examples.labels, task, resamples)
        verified.append(
            Verified(
                rows=count,
                metrics={name: score.interval() for name, score in found.items()},
                versus_maximal={
                    name: score.minus(baseline[name]).interval() for name, score in found.items()
                },
            )
        )
    return verified


@dataclass(frozen=True)
class _Score:
    """A metric on all rows, and on each resample of them, shape (resamples,)."""

    value: float
    drawn: NDArray[np.float64]

    def minus(self, other: _Score) -> _Score:
        """The difference, resample by resample."""
        return _Score(self.value - other.value, self.drawn - other.drawn)

    def interval(self) -> Interval:
        """The value between the percentiles of the resamples."""
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(self.drawn, [tail, 1 - tail])
        return Interval(value=self.value, low=float(low), high=float(high))


def _scored(
    supernet: Supernet,
    subnet: SubnetConfig,
    batches: Sequence[Batch],
    labels: torch.Tensor,
    task: Task,
    resamples: NDArray[np.int64],
) -> dict[str, _Score]:
    logits = subnet_logits(supernet, subnet, batches, rows=len(labels))
    drawn = resampled_metrics(task, logits, labels, resamples)
    return {
        name: _Score(value, drawn[name])
        for name, value in task_metrics(task, logits, labels).items()
    }
