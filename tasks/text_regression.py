"""Texts, or pairs of texts, each with a number."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.labels import read_targets
from elasticnas.tasks.metric import Values
from elasticnas.tasks.metrics import COMBINED, PEARSON, SPEARMAN
from elasticnas.tasks.rows import Labels
from elasticnas.tasks.settings import TaskSettings
from elasticnas.tasks.task import TASKS, Head, LabelsOfDataset, Outcomes, Raw, Task, unfit

OUTCOME = np.dtype([("label", np.float64), ("predicted", np.float64)])


class TextRegression(Task):
    """What is kept of a row are its number and the predicted one."""

    name = "text-regression"
    metrics = (PEARSON, SPEARMAN, COMBINED)
    probe = "logits"
    label_type = "float64"

    def read_labels(
        self, columns: Columns, name: str, label_names: Sequence[str] | None
    ) -> tuple[list[float], None]:
        """Finite numbers, which have no names."""
        if label_names is not None:
            raise InputError(
                "the labels of a regression are numbers and have no names",
                field="label_names",
                value=",".join(label_names)[:200],
                remedy="leave label_names out",
            )
        return read_targets(columns, name), None

    def fit(self, head: Head, _: LabelsOfDataset, field: str) -> None:
        """A head with one output."""
        if head.outputs != 1:
            raise unfit(self, head, field)

    def outcomes(self, raw: Raw, labels: Labels, _: TaskSettings) -> Outcomes:
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
