"""What a task is: what its rows are, what is run, what is kept of each, and how metrics come of it.

From a user's file to metrics, in the order in which things happen:

1. `Task.read` makes checked `Rows` of a file's columns; they are stored.
2. `Task.settle` checks what a search says of the task, its ``task_settings``, against the dataset.
3. The probe named `Task.probe` (`supernet.measuring.probes`) makes batches of the rows, of what
   `Task.items` says where a language model is run, and raw numbers of the batches.
4. `Task.outcomes` makes records of raw numbers and `Task.labels`, one for each row.
5. `Task.values` makes metrics of records. Races, verification and searches know no more than that.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.fields import is_whole
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.registry import Registry
from elasticnas.api_schemas.supernets import HeadKind
from elasticnas.tasks.columns import Columns
from elasticnas.tasks.items import Item, Scored, TextEncoder
from elasticnas.tasks.metric import METRICS, Metric, Values
from elasticnas.tasks.names import HALVED
from elasticnas.tasks.rows import Labels, Rows
from elasticnas.tasks.settings import TaskSettings, validated

Outcomes = NDArray[np.void]
"""What is kept of each row: records with the fields of a task's own, shape (..., rows)."""
Raw = NDArray[Any]
"""What a probe computes of each row: numbers (rows, numbers), or generated texts (rows,)."""


@dataclass(frozen=True)
class Head:
    """How many ``outputs`` a super-network's head has, and what its checkpoint calls them."""

    outputs: int
    names: Sequence[str] | None
    kind: HeadKind = HeadKind.CLASSIFIER


@dataclass(frozen=True)
class LabelsOfDataset:
    """How many labels a dataset has, and what they are called; by the user, if ``names_given``."""

    count: int
    names: Sequence[str] | None
    names_given: bool


@dataclass(frozen=True)
class ColumnsAsked:
    """Which columns of a file are a dataset's, and how its labels are meant.

    ``label`` is None where a task has no labels. ``choices`` is one column of lists of texts, or a
    column for each choice; a label that is a number counts choices from ``first_label``.
    """

    texts: tuple[str, ...]
    label: str | None
    label_names: tuple[str, ...] | None = None
    choices: tuple[str, ...] = ()
    first_label: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Every column, the texts first."""
        return (*self.texts, *self.choices, *(() if self.label is None else (self.label,)))


@dataclass(frozen=True)
class RowsOfDataset:
    """What is known of a dataset's rows before they are read again."""

    columns: tuple[str, ...]
    labels: LabelsOfDataset
    has_choices: bool = False


class Task(ABC):
    """What is measured on a dataset, by which ``metrics``; the first is the default.

    ``head`` is what a super-network must give, ``settings_type`` what a search may say of it.
    ``probe`` names what computes the raw numbers of a row: see `supernet.measuring.probes`.
    ``label_type`` is NumPy's name of the labels' type, ``string`` of texts. ``raced`` is the metric
    that is the share of `hits`, if there is one.

    Rows have up to ``most_texts`` columns of texts, None: any number, which then keep their names,
    so that prompts can name them. ``has_labels`` and ``has_choices`` say what else a dataset must
    and may have, ``nests_labels`` that labels may be lists and objects. A task that is not
    ``is_learnt`` is measured alone: no recipe trains on its rows.
    """

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    probe: ClassVar[str]
    label_type: ClassVar[str]
    head: ClassVar[HeadKind] = HeadKind.CLASSIFIER
    settings_type: ClassVar[type[TaskSettings]] = TaskSettings
    raced: ClassVar[Metric | None] = None
    most_texts: ClassVar[int | None] = 2
    has_labels: ClassVar[bool] = True
    has_choices: ClassVar[bool] = False
    nests_labels: ClassVar[bool] = False
    is_learnt: ClassVar[bool] = True

    @property
    def keeps_columns(self) -> bool:
        """Whether stored rows keep the user's names of their columns."""
        return self.most_texts is None

    def read(self, columns: Columns, asked: ColumnsAsked) -> tuple[Rows, tuple[str, ...] | None]:
        """The rows of a user's file, and what classes are called if they are.

        Raises:
            InputError: naming the column, the line or row, and the value at fault.
        """
        texts = read_texts(columns, asked.texts)
        labels, names = self._labels(columns, asked)
        kind = object if self.label_type == "string" else self.label_type
        return Rows(texts, np.array(labels, dtype=kind)), names

    def _labels(
        self, columns: Columns, asked: ColumnsAsked
    ) -> tuple[Sequence[Any], tuple[str, ...] | None]:
        if asked.label is None:
            return [0] * len(columns.values[asked.texts[0]]), None
        return self.read_labels(columns, asked.label, asked.label_names)

    def read_labels(
        self, columns: Columns, name: str, label_names: Sequence[str] | None
    ) -> tuple[Sequence[Any], tuple[str, ...] | None]:
        """The label of each row, here: text. With what classes are called if they are.

        Raises:
            InputError: naming the column, the line or row, and the value at fault.
        """
        if label_names is not None:
            raise InputError("labels that are texts have no other names", field="label_names")
        for index, value in enumerate(columns.values[name]):
            if value is None or isinstance(value, list | dict):
                raise columns.fault(name, index, "label", "is not text")
        return [str(value) for value in columns.values[name]], None

    def settle(self, given: Mapping[str, Any], rows: RowsOfDataset) -> TaskSettings:  # noqa: ARG002
        """The settings of a search on a dataset, with defaults that depend on it filled in.

        Raises:
            InputError: about ``task_settings/...``: a setting is wrong, or does not fit the rows.
        """
        return validated(self.settings_type, given)

    def require_length(self, settings: Any, max_length: int) -> None:  # noqa: B027
        """The settings leave room for a row within ``max_length`` tokens.

        Raises:
            InputError: about ``task_settings/...``: they leave none, whatever the row.
        """

    def items(
        self,
        rows: Rows,
        settings: Any,
        encoder: TextEncoder,
        max_length: int,
    ) -> list[Item]:
        """What a language model is run and scored on for each row.

        Raises:
            NotImplementedError: the task runs no language model.
            InputError: a row cannot be scored within ``max_length`` tokens.
        """
        raise NotImplementedError(f"{self.name} scores no continuations")

    def taught(
        self, rows: Rows, settings: Any, encoder: TextEncoder, max_length: int, end: int
    ) -> list[Scored]:
        """What a language model is trained on: the right answers, scored behind their prompts.

        Behind an answer stands the token ``end``, which says that it is over.

        Raises:
            NotImplementedError: the task runs no language model.
            InputError: an answer does not fit into ``max_length`` tokens.
        """
        raise NotImplementedError(f"{self.name} is learnt without a language model")

    def labels(self, rows: Rows, settings: Any) -> Labels:  # noqa: ARG002
        """What raw numbers of rows are compared with, shape (rows,)."""
        return rows.labels

    def require_head(self, head: Head, field: str) -> None:
        """The super-network gives what this task measures.

        Raises:
            InputError: about ``field``: it gives something else.
        """
        if head.kind is not self.head:
            gives = {
                HeadKind.CLASSIFIER: "classes or a value for each row",
                HeadKind.CAUSAL_LM: "the next token of a text",
                HeadKind.SPANS: "where in a text an answer starts and ends",
            }
            raise InputError(
                f"the super-network predicts {gives[head.kind]}, and {self.name} is measured on "
                f"one that predicts {gives[self.head]}",
                field=field,
                value=self.name,
            )

    def fit(
        self,
        head: Head,  # noqa: ARG002
        labels: LabelsOfDataset,  # noqa: ARG002
        field: str,  # noqa: ARG002
    ) -> tuple[int, ...] | None:
        """The class of the head for each label of a dataset; None where it is the label.

        Raises:
            InputError: about ``field``: the head predicts something else, or a label is none of
                its classes.
        """
        return None

    def num_labels(self, rows: Rows) -> int:  # noqa: ARG002
        """How many outputs of a head the labels need."""
        return 1

    @abstractmethod
    def outcomes(self, raw: Raw, labels: Labels, settings: Any) -> Outcomes:
        """What is kept of rows, shape (rows,), of what the probe computed and `labels` made.

        Raises:
            InputError: a label does not fit the super-network's head.
            ArithmeticError: the subnet gives no numbers.
        """

    @abstractmethod
    def values(self, outcomes: Outcomes) -> dict[str, Values]:
        """Every metric by name, shape (n,), of n samples of rows, shape (n, rows)."""

    def measure(self, outcomes: Outcomes) -> dict[str, float]:
        """Every metric by name, of all rows, shape (rows,).

        Raises:
            ArithmeticError: one is not a finite number, which could be neither sent nor compared.
        """
        measured = {name: float(value[0]) for name, value in self.values(outcomes[None]).items()}
        for name, value in measured.items():
            if not math.isfinite(value):
                raise ArithmeticError(f"the subnet's {name} is not a finite number")
        return measured

    def hits(self, outcomes: Outcomes) -> NDArray[np.bool_] | None:  # noqa: ARG002
        """Which rows are right, shape (rows,); None where rows are not right or wrong.

        Only tasks with hits can race, by their ``raced`` metric, which is the share of hits.
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


def read_texts(columns: Columns, names: Sequence[str]) -> dict[str, list[str]]:
    """Columns of texts by their names.

    Raises:
        InputError: a value is not text, or none that can be stored.
    """
    for name in names:
        for index, value in enumerate(columns.values[name]):
            if not isinstance(value, str):
                raise columns.fault(name, index, "text", "is not text")
            if not is_whole(value):
                raise columns.fault(
                    name,
                    index,
                    "text",
                    HALVED,
                    "cut texts between characters, not within an emoji, or leave it out",
                )
    return {name: columns.values[name] for name in names}


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
