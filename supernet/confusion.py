"""Classification metrics from confusion matrices, as scikit-learn computes them from rows.

From rows they take scikit-learn four milliseconds, in which a GPU measures half a small subnet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from api_schemas.metrics import Metric

Values = NDArray[np.float64]


def confusion_metrics(confusion: Values) -> dict[str, Values]:
    """Accuracy, F1 (of class 1, or the mean of more classes), Matthews' coefficient; each (n,).

    ``confusion`` has the counts of (true class, predicted class), shape (n, classes, classes).
    """
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
