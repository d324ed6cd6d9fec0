"""What a task is."""

from __future__ import annotations

from dataclasses import dataclass

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.registry import Registry
from elasticnas.tasks.metric import METRICS, Metric


@dataclass(frozen=True)
class Task:
    """What is measured on a dataset, by which ``metrics``; the first is the default."""

    name: str
    metrics: tuple[Metric, ...]

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


TASKS: Registry[Task] = Registry("task")
"""Every task."""
