"""What a task is: what is kept of each row, and how metrics come of that."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.registry import Registry
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.metric import METRICS, Metric, Values

Outcomes = NDArray[np.void]
"""What is kept of each row: records with the fields of a task's own, shape (..., rows)."""
Raw = NDArray[np.floating[Any]]
"""What a probe computes of each row, shape (rows, numbers)."""
Labels = NDArray[np.generic]
"""The label of each row, shape (rows,)."""


@dataclass(frozen=True)
class Head:
    """How many ``outputs`` a super-network's head has, and what its checkpoint calls them."""

    outputs: int
    names: Sequence[str] | None


@dataclass(frozen=True)
class LabelsOfDataset:
    """How many labels a dataset has, and what they are called; by the user, if ``names_given``."""

    count: int
    names: Sequence[str] | None
    names_given: bool


class Task(ABC):
    """What is measured on a dataset, by which ``metrics``; the first is the default.

    ``probe`` names what computes the raw numbers of a row: see `supernet.measuring.probes`.
    ``label_type`` is NumPy's name of the labels' type.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    probe: ClassVar[str]
    label_type: ClassVar[str]

    @abstractmethod
    def read_labels(
        self, columns: Columns, name: str, label_names: Sequence[str] | None
    ) -> tuple[Sequence[float], tuple[str, ...] | None]:
        """The label of each row of a user's file, and what classes are called if they are.

        Raises:
            InputError: naming the column, the line or row, and the value at fault.
        """

    @abstractmethod
    def fit(self, head: Head, labels: LabelsOfDataset, field: str) -> tuple[int, ...] | None:
        """The class of the head for each label of a dataset; None where it is the label.

        Raises:
            InputError: about ``field``: the head predicts something else, or a label is none of
                its classes.
        """

    def num_labels(self, labels: Sequence[float]) -> int:  # noqa: ARG002
        """How many outputs of a head the labels need."""
        return 1

    @abstractmethod
    def outcomes(self, raw: Raw, labels: Labels) -> Outcomes:
        """What is kept of rows, shape (rows,), of their raw numbers (rows, numbers).

        Raises:
            InputError: a label does not fit the super-network's head.
        """

    @abstractmethod
    def values(self, outcomes: Outcomes) -> dict[str, Values]:
        """Every metric by name, shape (n,), of n samples of rows, shape (n, rows)."""

    def measure(self, outcomes: Outcomes) -> dict[str, float]:
        """Every metric by name, of all rows, shape (rows,)."""
        return {name: float(value[0]) for name, value in self.values(outcomes[None]).items()}

    def hits(self, outcomes: Outcomes) -> NDArray[np.bool_] | None:  # noqa: ARG002
        """Which rows are right, shape (rows,); None where rows are not right or wrong.

        Only tasks with hits can race, and their accuracy is the share of hits.
        """
        return None

    def strata(self, labels: Labels) -> Labels | None:  # noqa: ARG002
        """Of what every part of a split has the same share; None: of rows."""
        return None

    def width(self, outcomes: Outcomes) -> int:
        """How many numbers `values` holds at once of each sample of these rows."""
        return len(outcomes)

    def metric(self, name: str | None) -> Metric:
        """The metric of this name, or the default.

        Raises:
            InputError: there is no such metric, or the task is not measured by it.
        """
        if name is None:
            return self.metrics[0]
        metric = METRICS.find(name, field="metric")
        if metric not in self.metrics:
            raise InputError(
                f"{self.name} is not measured by this metric",
                field="metric",
                value=name,
                remedy=f"choose one of {', '.join(each.name for each in self.metrics)}",
            )
        return metric


def unfit(task: Task, head: Head, field: str) -> InputError:
    """The error about a head that predicts something else."""
    predicted = "one value" if head.outputs == 1 else f"{head.outputs} classes"
    return InputError(
        f"the super-network predicts {predicted}, and the dataset's task does not fit that",
        field=field,
        value=task.name,
    )


TASKS: Registry[Task] = Registry("task")
"""Every task."""
