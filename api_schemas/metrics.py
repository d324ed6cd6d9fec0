"""Tasks and the metrics each is measured by."""

from __future__ import annotations

from enum import StrEnum


class Task(StrEnum):
    """What the labels of a dataset are."""

    CLASSIFICATION = "text-classification"
    REGRESSION = "text-regression"


class Metric(StrEnum):
    """What an evaluation measures; all are better when larger.

    ``f1`` is class 1's for a head of two classes and macro-averaged for one of more;
    ``combined_score`` is GLUE's: the mean of accuracy and F1 (MRPC, QQP) for classification, of
    Pearson's and Spearman's correlations (STS-B) for regression.
    """

    ACCURACY = "accuracy"
    F1 = "f1"
    MATTHEWS = "matthews_correlation"
    PEARSON = "pearson"
    SPEARMAN = "spearman"
    COMBINED = "combined_score"


TASK_METRICS: dict[Task, tuple[Metric, ...]] = {
    Task.CLASSIFICATION: (Metric.ACCURACY, Metric.F1, Metric.MATTHEWS, Metric.COMBINED),
    Task.REGRESSION: (Metric.PEARSON, Metric.SPEARMAN, Metric.COMBINED),
}
"""The metrics a task has; the first is the task's default."""
