"""The metrics of a task on many resamples of its rows at once.

`supernet.metrics` measures one set of rows with scikit-learn; a thousand calls of that take ten
seconds. What classification metrics need of a resample is its confusion matrix, so here they are
computed from all matrices together, and a test holds them against scikit-learn's.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from api_schemas.metrics import Metric, Task
from supernet.metrics import task_metrics

Values = NDArray[np.float64]


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
    return _from_confusion(_confusion(truth, predicted, resamples))


def _confusion(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], resamples: NDArray[np.int64]
) -> Values:
    """Counts of (true class, predicted class), shape (resamples, classes, classes)."""
    classes = int(max(truth.max(), predicted.max())) + 1
    cells = (truth * classes + predicted)[resamples]
    offsets = np.arange(len(resamples))[:, None] * classes**2
    counts = np.bincount((cells + offsets).ravel(), minlength=len(resamples) * classes**2)
    return counts.reshape(len(resamples), classes, classes).astype(np.float64)


def _from_confusion(confusion: Values) -> dict[str, Values]:
    """Accuracy, F1 (of class 1, or the mean of more classes), Matthews' coefficient."""
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    of_class, called = confusion.sum(axis=2), confusion.sum(axis=1)
    total = of_class.sum(axis=1)
    accuracy = hits.sum(axis=1) / total
    f1 = _ratio(2 * hits, of_class + called)
    if confusion.shape[1] <= 2:
        f1 = f1[:, -1] if confusion.shape[1] == 2 else np.zeros(len(confusion))
    else:
        present = (of_class + called) > 0
        f1 = (f1 * present).sum(axis=1) / present.sum(axis=1)
    covariance = hits.sum(axis=1) * total - (of_class * called).sum(axis=1)
    spread = (total**2 - (called**2).sum(axis=1)) * (total**2 - (of_class**2).sum(axis=1))
    return {
        Metric.ACCURACY.value: accuracy,
        Metric.F1.value: f1,
        Metric.MATTHEWS.value: _ratio(covariance, np.sqrt(spread)),
        Metric.COMBINED.value: (accuracy + f1) / 2,
    }


def _ratio(above: Values, below: Values) -> Values:
    """0 where there is nothing to divide by, as in scikit-learn."""
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
