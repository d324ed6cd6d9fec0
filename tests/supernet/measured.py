"""Short ways to metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.forward.prefixes import Prefixes
from elasticnas.supernet.measuring.examples import Batch
from elasticnas.supernet.measuring.measure import Lap, measure
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import Task
from elasticnas.tasks.rows import Labels
from elasticnas.tasks.settings import TaskSettings


def evaluate(
    supernet: Supernet,
    subnet: SubnetConfig,
    batches: Sequence[Batch],
    labels: Labels,
    task: Task,
    is_unwanted: Callable[[], bool] = lambda: False,
    prefixes: Prefixes | None = None,
) -> dict[str, float]:
    """The metrics of a subnet on these batches."""
    laps = [Lap.whole(batches, prefixes)]
    found = measure(supernet, subnet, laps, labels, task, is_unwanted=is_unwanted)
    assert found.metrics is not None
    return found.metrics


def task_metrics(task: Task, logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """The metrics of these logits."""
    return task.measure(task.outcomes(logits.numpy(), labels.numpy(), TaskSettings()))
