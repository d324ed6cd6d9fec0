"""The metrics of the built-in tasks; each is best at 1, and counted from 0."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from elasticnas.tasks.metric import METRICS, Metric, Values


def share_error(values: Values, rows: int) -> Values:
    """The binomial error of shares of right answers: ``sqrt(p (1 - p) / rows)``, shape (n,).

    Half a row is added on each side, so that a perfect score is not taken for certain.
    """
    share = (np.clip(values, 0.0, 1.0) * rows + 0.5) / (rows + 1.0)
    return np.asarray(np.sqrt(share * (1.0 - share) / rows))


def correlation_error(values: Values, rows: int) -> Values:
    """``(1 - r^2) / sqrt(rows)``, the large-sample error of Pearson's r (Fisher 1915), shape (n,).

    Matthews' coefficient is Pearson's of two binary variables.
    """
    unexplained = np.maximum(1.0 - np.clip(values, -1.0, 1.0) ** 2, 1.0 / rows)
    return np.asarray(unexplained / np.sqrt(rows))


def _share(name: str, error: Callable[[Values, int], Values] = share_error) -> Metric:
    return METRICS.register(name, Metric(name, ideal=1.0, worst=0.0, standard_error=error))


ACCURACY = _share("accuracy")
F1 = _share("f1")
"""Class 1's for a head of two classes, macro-averaged for one of more."""
MATTHEWS = _share("matthews_correlation", correlation_error)
PEARSON = _share("pearson", correlation_error)
SPEARMAN = _share("spearman", correlation_error)
COMBINED = _share("combined_score")
"""GLUE's: the mean of accuracy and F1 (MRPC, QQP) for classification, of Pearson's and Spearman's
correlations (STS-B) for regression."""
