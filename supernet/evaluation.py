"""Measuring a subnet on a dataset."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import torch

from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.examples import Batch
from elasticnas.supernet.forward.activation import ActiveSubnet, activate
from elasticnas.supernet.forward.prefixes import Prefixes
from elasticnas.supernet.metrics import task_metrics
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import Task


class EvaluationUnwantedError(Exception):
    """An evaluation was given up because nobody waits for it any more."""


def evaluate(
    supernet: Supernet,
    subnet: SubnetConfig,
    batches: Sequence[Batch],
    labels: torch.Tensor,
    task: Task,
    is_unwanted: Callable[[], bool] = lambda: False,
    prefixes: Prefixes | None = None,
) -> dict[str, float]:
    """All metrics of ``task`` for a subnet, on batches that lie on the super-network's device.

    ``labels`` (rows,) stay on the CPU. Batches and padding change nothing but the last bits.
    ``is_unwanted`` is asked before every batch. First layers that ``prefixes`` know are not run.

    Raises:
        EvaluationUnwantedError: nobody waits for the result any more.
        ValueError: ``prefixes`` are of another super-network or other batches.
    """
    logits = subnet_logits(
        supernet,
        subnet,
        batches,
        rows=len(labels),
        is_unwanted=is_unwanted,
        prefixes=prefixes,
    )
    return task_metrics(task, logits, labels)


def subnet_logits(
    supernet: Supernet,
    subnet: SubnetConfig,
    batches: Sequence[Batch],
    *,
    rows: int,
    is_unwanted: Callable[[], bool] = lambda: False,
    prefixes: Prefixes | None = None,
) -> torch.Tensor:
    """The logits that `predict` gives for a subnet that is activated for these batches.

    Raises:
        EvaluationUnwantedError: nobody waits for the result any more.
        ValueError: ``prefixes`` are of another super-network or other batches.
    """
    with torch.inference_mode(), ExitStack() as stack:
        if prefixes is None:
            active = activate(supernet, subnet)
        else:
            prefixes.require(supernet, batches)
            active = activate(supernet, subnet, stack.enter_context(prefixes.shared(subnet)))
        return predict(active, batches, rows=rows, is_unwanted=is_unwanted)


def predict(
    active: ActiveSubnet,
    batches: Sequence[Batch],
    *,
    rows: int,
    is_unwanted: Callable[[], bool] = lambda: False,
) -> torch.Tensor:
    """The logits of every row, shape (rows, labels), float32 on the CPU, in dataset order.

    They are gathered on the device, so an evaluation waits for it once.

    Raises:
        ValueError: there is no batch.
        EvaluationUnwantedError: ``is_unwanted`` said so.
    """
    if not batches:
        raise ValueError("no batch to predict on")
    parts = []
    for batch in batches:
        if is_unwanted():
            raise EvaluationUnwantedError
        parts.append(active.logits(batch.inputs).float())
    order = torch.cat([batch.rows for batch in batches])
    gathered = torch.empty(rows, parts[0].shape[-1], device=parts[0].device)
    gathered[order] = torch.cat(parts)
    return gathered.cpu()
