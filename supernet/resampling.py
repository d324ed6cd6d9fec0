"""The metrics of a task on many resamples of its rows at once.

What classification metrics need of a resample is how many rows of each class it has, so they are
computed from the counts of many resamples together, a thousand nearly as fast as one.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from elasticnas.supernet.confusion import Confusion, Values
from elasticnas.supernet.metrics import task_metrics, true_and_predicted
from elasticnas.tasks import TEXT_REGRESSION, Task

CELLS = 2**23
"""Rows, or classes, of how many resamples are in memory at once: 64 MB an array."""


def resampled_metrics(
    task: Task, logits: torch.Tensor, labels: torch.Tensor, resamples: NDArray[np.int64]
) -> dict[str, Values]:
    """Every metric of ``task`` on each resample, shape (resamples,).

    ``logits`` (rows, classes) and ``labels`` (rows,) are of all rows; ``resamples`` has the row
    numbers of each resample, shape (resamples, rows).
    """
    if task is TEXT_REGRESSION:
        drawn = [task_metrics(task, logits[rows], labels[rows]) for rows in resamples]
        return {name: np.array([each[name] for each in drawn]) for name in drawn[0]}
    truth, predicted = true_and_predicted(logits, labels)
    classes = logits.shape[-1]
    at_once = max(1, CELLS // max(classes, len(truth)))
    parts = [
        Confusion.of(truth[rows], predicted[rows], classes).metrics()
        for rows in np.split(resamples, range(at_once, len(resamples), at_once))
    ]
    return {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}
