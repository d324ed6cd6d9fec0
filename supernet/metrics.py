"""The metrics of a task."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import ConstantInputWarning, pearsonr, spearmanr

from api_schemas.metrics import Metric, Task
from supernet.confusion import confusion_metrics


def task_metrics(task: Task, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """All metrics of ``task`` for ``logits`` (rows, labels) against ``labels`` (rows,).

    A correlation that is undefined because the predictions are constant counts as 0, as
    scikit-learn does for Matthews' coefficient.
    """
    if task is Task.REGRESSION:
        return _regression(labels.numpy(), logits.squeeze(-1).double().numpy())
    truth: NDArray[np.int64] = labels.numpy()
    return _classification(truth, logits.argmax(dim=-1).numpy())


def _classification(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[str, float]:
    classes = int(max(truth.max(), predicted.max())) + 1
    confusion = np.bincount(truth * classes + predicted, minlength=classes**2).astype(np.float64)
    found = confusion_metrics(confusion.reshape(1, classes, classes))
    return {name: float(value[0]) for name, value in found.items()}


def _regression(truth: NDArray[np.generic], predicted: NDArray[np.generic]) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        pearson = float(pearsonr(truth, predicted).statistic)
        spearman = float(spearmanr(truth, predicted).statistic)
    pearson, spearman = (0.0 if np.isnan(value) else value for value in (pearson, spearman))
    return {
        Metric.PEARSON.value: pearson,
        Metric.SPEARMAN.value: spearman,
        Metric.COMBINED.value: (pearson + spearman) / 2,
    }
