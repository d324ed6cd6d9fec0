"""Texts, or pairs of texts, each with a number."""

from __future__ import annotations

import warnings

import numpy as np

from elasticnas.tasks.metric import Values
from elasticnas.tasks.metrics import COMBINED, PEARSON, SPEARMAN
from elasticnas.tasks.task import TASKS, Labels, Outcomes, Raw, Task

OUTCOME = np.dtype([("label", np.float64), ("predicted", np.float64)])


class TextRegression(Task):
    """What is kept of a row are its number and the predicted one."""

    name = "text-regression"
    metrics = (PEARSON, SPEARMAN, COMBINED)
    probe = "logits"
    label_type = "float64"

    def outcomes(self, raw: Raw, labels: Labels) -> Outcomes:
        """Of a head with one output, (rows, 1)."""
        outcomes = np.empty(len(labels), OUTCOME)
        outcomes["label"], outcomes["predicted"] = labels, raw.squeeze(-1)
        return outcomes

    def values(self, outcomes: Outcomes) -> dict[str, Values]:
        """Both correlations and their mean.

        One that is undefined because all predictions are alike counts as 0, as scikit-learn has it
        for Matthews' coefficient.
        """
        found = np.array([_correlations(sample) for sample in outcomes])
        pearson, spearman = np.nan_to_num(found, nan=0.0).T
        return {
            PEARSON.name: pearson,
            SPEARMAN.name: spearman,
            COMBINED.name: (pearson + spearman) / 2,
        }


def _correlations(sample: Outcomes) -> tuple[float, float]:
    # The server and the command line know this task, and must not wait for SciPy as they start.
    from scipy.stats import ConstantInputWarning, pearsonr, spearmanr

    label, predicted = sample["label"].copy(), sample["predicted"].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return (
            float(pearsonr(label, predicted).statistic),
            float(spearmanr(label, predicted).statistic),
        )


TEXT_REGRESSION = TASKS.register(TextRegression.name, TextRegression())
