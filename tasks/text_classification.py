"""Texts, or pairs of texts, each of one class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks.classes import classes_by_name, require_counted
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.confusion import Confusion
from elasticnas.tasks.labels import read_classes
from elasticnas.tasks.metric import Values
from elasticnas.tasks.metrics import ACCURACY, COMBINED, F1, MATTHEWS
from elasticnas.tasks.rows import Labels, Rows
from elasticnas.tasks.settings import TaskSettings
from elasticnas.tasks.task import TASKS, Head, LabelsOfDataset, Outcomes, Raw, Task, unfit

OUTCOME = np.dtype([("label", np.int64), ("predicted", np.int64), ("classes", np.int64)])
"""The class of a row, the predicted one, and of how many the head chose it."""


class TextClassification(Task):
    """A hit is a row whose largest logit is its class's."""

    name = "text-classification"
    metrics = (ACCURACY, F1, MATTHEWS, COMBINED)
    raced = ACCURACY
    probe = "logits"
    label_type = "int64"

    def read_labels(
        self, columns: Columns, name: str, label_names: Sequence[str] | None
    ) -> tuple[list[int], tuple[str, ...] | None]:
        """Classes, or names of classes."""
        return read_classes(columns, name, label_names)

    def num_labels(self, rows: Rows) -> int:
        """One more than the largest class."""
        return int(rows.labels.max()) + 1

    def fit(self, head: Head, labels: LabelsOfDataset, field: str) -> tuple[int, ...] | None:
        """By the names of classes, where the labels have names."""
        if head.outputs == 1:
            raise unfit(self, head, field)
        classes: tuple[int, ...] | None = None
        if labels.names is None:
            require_counted(head.names, field)
        else:
            classes = classes_by_name(
                labels.names,
                given=labels.names_given,
                head=head.outputs,
                head_names=head.names,
                field=field,
            )
        largest = labels.count - 1 if classes is None else max(classes[: labels.count])
        if largest >= head.outputs:
            raise InputError(
                f"the dataset has the label {largest}, which is out of range: the super-network "
                f"predicts {head.outputs} classes, 0 to {head.outputs - 1}",
                field=field,
                value=largest,
            )
        return classes

    def outcomes(self, raw: Raw, labels: Labels, _: TaskSettings) -> Outcomes:
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
