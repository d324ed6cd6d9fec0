"""Evaluations as columns: a list of values for each field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.points import PointField
from elasticnas.tasks import TASKS

USUAL = (
    PointField.NUMBER,
    PointField.STATE,
    PointField.ORIGIN,
    PointField.CACHED,
    PointField.HYPERVOLUME,
    PointField.DURATION_SECONDS,
)
"""What is told of every result beside its metrics and costs."""


@dataclass(frozen=True)
class Recorded:
    """Results in the order in which they were recorded.

    ``stored`` are the columns of the table by name, ``sequence`` among them, all equally long.
    ``more`` says that others follow.
    """

    stored: Mapping[str, Sequence[Any]]
    more: bool

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.stored["sequence"])

    @property
    def last(self) -> int | None:
        """The sequence of the last; None where there is none."""
        return self.stored["sequence"][-1] if self.count else None

    def column(self, name: str) -> list[Any]:
        """The values of a field; None where a result has none."""
        column = stored_in(name)
        values = self.stored[column]
        if column == name:
            return list(values)
        return [None if each is None else each.get(name) for each in values]

    def every_field(self, task: str) -> list[str]:
        """The usual fields, the metrics of the task, and the costs that the first result has."""
        costs = self.stored["cost"][0] if self.count else ()
        return [*USUAL, *(metric.name for metric in TASKS[task].metrics), *costs]


def stored_in(name: str) -> str:
    """The column of the table that holds a field: a `PointField`, a cost or a metric."""
    if name in _FIELDS:
        return name
    return "cost" if name in _COSTS else "metrics"


_FIELDS = frozenset(map(str, PointField))
_COSTS = frozenset(map(str, Cost))
