"""The metrics of a task, computed by scikit-learn and SciPy."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import ConstantInputWarning, pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from api_schemas.metrics import Metric, Task


def task_metrics(task: Task, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """All metrics of ``task`` for ``logits`` (rows, labels) against ``labels`` (rows,).

    A correlation that is undefined because the predictions are constant counts as 0, as
    scikit-learn does for Matthews' coefficient.
    """
    truth: NDArray[np.generic] = labels.numpy()
    if task is Task.REGRESSION:
        return _regression(truth, logits.squeeze(-1).double().numpy())
    return _classification(truth, logits.argmax(dim=-1).numpy())


def _classification(truth: NDArray[np.generic], predicted: NDArray[np.generic]) -> dict[str, float]:
    binary = int(max(truth.max(), predicted.max())) <= 1
    accuracy = float(accuracy_score(truth, predicted))
    f1 = float(
        f1_score(truth, predicted, average="binary" if binary else "macro", zero_division=0.0)
    )
    return {
        Metric.ACCURACY.value: accuracy,
        Metric.F1.value: f1,
        Metric.MATTHEWS.value: float(matthews_corrcoef(truth, predicted)),
        Metric.COMBINED.value: (accuracy + f1) / 2,
    }


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
