"""Texts, or pairs of texts, each of one class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks.confusion import Confusion
from elasticnas.tasks.metric import Values
from elasticnas.tasks.metrics import ACCURACY, COMBINED, F1, MATTHEWS
from elasticnas.tasks.task import TASKS, Labels, Outcomes, Raw, Task

OUTCOME = np.dtype([("label", np.int64), ("predicted", np.int64), ("classes", np.int64)])
"""The class of a row, the predicted one, and of how many the head chose it."""


class TextClassification(Task):
    """A hit is a row whose largest logit is its class's."""

    name = "text-classification"
    metrics = (ACCURACY, F1, MATTHEWS, COMBINED)
    probe = "logits"
    label_type = "int64"

    def outcomes(self, raw: Raw, labels: Labels) -> Outcomes:
        """Of logits (rows, classes): how many classes there are they say, and not the labels."""
        classes = raw.shape[-1]
        truth = labels.astype(np.int64)
        if truth.min() < 0 or truth.max() >= classes:
            raise InputError(
                f"the super-network predicts {classes} classes, 0 to {classes - 1}",
                field="label",
                value=int(truth.min() if truth.min() < 0 else truth.max()),
            )
        outcomes = np.empty(len(truth), OUTCOME)
        outcomes["label"], outcomes["classes"] = truth, classes
        outcomes["predicted"] = raw.argmax(axis=-1)
        return outcomes

    def values(self, outcomes: Outcomes) -> dict[str, Values]:
        """Accuracy, F1, Matthews' coefficient and the mean of the first two: see `Confusion`."""
        classes = int(outcomes["classes"].flat[0])
        return Confusion.of(outcomes["label"], outcomes["predicted"], classes).metrics()

    def hits(self, outcomes: Outcomes) -> NDArray[np.bool_]:
        """The rows whose predicted class is their label's."""
        return np.asarray(outcomes["label"] == outcomes["predicted"])

    def strata(self, labels: Labels) -> Labels:
        """Every class."""
        return labels

    def width(self, outcomes: Outcomes) -> int:
        """Rows, or counts of each class."""
        return max(len(outcomes), int(outcomes["classes"].flat[0]))


TEXT_CLASSIFICATION = TASKS.register(TextClassification.name, TextClassification())
