"""How far a metric measured on a finite validation set may be from its true value."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.metrics import Metric

CORRELATIONS = (Metric.MATTHEWS, Metric.PEARSON, Metric.SPEARMAN)


def standard_error(metric: Metric, values: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """The standard error of ``values`` (n,) of a metric, each measured on ``rows`` rows.

    Binomial for shares of right answers: ``sqrt(p (1 - p) / rows)``, with half a row added on each
    side so that a perfect score is not taken for certain. F1 and GLUE's combined score are
    taken for shares too. For correlations ``(1 - r^2) / sqrt(rows)``, the large-sample error of
    Pearson's r (Fisher 1915); Matthews' is Pearson's of two binary variables.
    """
    if metric in CORRELATIONS:
        unexplained = np.maximum(1.0 - np.clip(values, -1.0, 1.0) ** 2, 1.0 / rows)
        return np.asarray(unexplained / np.sqrt(rows))
    share = (np.clip(values, 0.0, 1.0) * rows + 0.5) / (rows + 1.0)
    return np.asarray(np.sqrt(share * (1.0 - share) / rows))
