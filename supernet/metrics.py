"""The metrics of a task."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import ConstantInputWarning, pearsonr, spearmanr

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.confusion import Confusion
from elasticnas.tasks import TEXT_REGRESSION, Task


def task_metrics(task: Task, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """All metrics of ``task`` for ``logits`` (rows, classes) against ``labels`` (rows,).

    How many classes there are, and so what F1 is, the logits say and not the labels. A correlation
    that is undefined because the predictions are constant counts as 0, as scikit-learn does for
    Matthews' coefficient.
    """
    if task is TEXT_REGRESSION:
        return _regression(labels.numpy(), logits.squeeze(-1).double().numpy())
    truth, predicted = true_and_predicted(logits, labels)
    confusion = Confusion.of(truth[None], predicted[None], logits.shape[-1])
    return {name: float(value[0]) for name, value in confusion.metrics().items()}


def true_and_predicted(
    logits: torch.Tensor, labels: torch.Tensor
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The classes of ``labels`` and those that ``logits`` predict, each (rows,).

    Raises:
        InputError: a label is none of the head's classes.
    """
    truth: NDArray[np.int64] = labels.numpy()
    classes = logits.shape[-1]
    if truth.min() < 0 or truth.max() >= classes:
        raise InputError(
            f"the super-network predicts {classes} classes, 0 to {classes - 1}",
            field="label",
            value=int(truth.min() if truth.min() < 0 else truth.max()),
        )
    return truth, logits.argmax(dim=-1).numpy()


def _regression(truth: NDArray[np.generic], predicted: NDArray[np.generic]) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        pearson = float(pearsonr(truth, predicted).statistic)
        spearman = float(spearmanr(truth, predicted).statistic)
    pearson, spearman = (0.0 if np.isnan(value) else value for value in (pearson, spearman))
    return {
        "pearson": pearson,
        "spearman": spearman,
        "combined_score": (pearson + spearman) / 2,
    }
