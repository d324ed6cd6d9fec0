"""The metrics of a task on many resamples of its rows at once.

What classification metrics need of a resample is its confusion matrix, so they are computed from
all matrices together, a thousand nearly as fast as one.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from api_schemas.metrics import Task
from supernet.confusion import Values, confusion_metrics
from supernet.metrics import task_metrics


def resampled_metrics(
    task: Task, logits: torch.Tensor, labels: torch.Tensor, resamples: NDArray[np.int64]
) -> dict[str, Values]:
    """Every metric of ``task`` on each resample, shape (resamples,).

    ``logits`` (rows, labels) and ``labels`` (rows,) are of all rows; ``resamples`` has the row
    numbers of each resample, shape (resamples, rows).
    """
    if task is Task.REGRESSION:
        drawn = [task_metrics(task, logits[rows], labels[rows]) for rows in resamples]
        return {name: np.array([each[name] for each in drawn]) for name in drawn[0]}
    truth: NDArray[np.int64] = labels.numpy()
    predicted: NDArray[np.int64] = logits.argmax(dim=-1).numpy()
    return confusion_metrics(_confusion(truth, predicted, resamples))


def _confusion(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], resamples: NDArray[np.int64]
) -> Values:
    """Counts of (true class, predicted class), shape (resamples, classes, classes)."""
    classes = int(max(truth.max(), predicted.max())) + 1
    cells = (truth * classes + predicted)[resamples]
    offsets = np.arange(len(resamples))[:, None] * classes**2
    counts = np.bincount((cells + offsets).ravel(), minlength=len(resamples) * classes**2)
    return counts.reshape(len(resamples), classes, classes).astype(np.float64)
