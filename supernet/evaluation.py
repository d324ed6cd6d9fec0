"""Measuring a subnet on a dataset."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from api_schemas.metrics import Task
from search.space import SubnetConfig
from supernet.activation import ActiveSubnet, activate
from supernet.examples import Batch
from supernet.metrics import task_metrics
from supernet.supernet import Supernet


def evaluate(
    supernet: Supernet,
    subnet: SubnetConfig,
    batches: Sequence[Batch],
    labels: torch.Tensor,
    task: Task,
) -> dict[str, float]:
    """All metrics of ``task`` for a subnet, on batches that lie on the super-network's device.

    ``labels`` (rows,) stay on the CPU. Batches and padding change nothing but the last bits.
    """
    with torch.inference_mode():
        logits = predict(activate(supernet, subnet), batches, rows=len(labels))
    return task_metrics(task, logits, labels)


def predict(active: ActiveSubnet, batches: Sequence[Batch], *, rows: int) -> torch.Tensor:
    """The logits of every row, shape (rows, labels), float32 on the CPU, in dataset order.

    They are gathered on the device, so an evaluation waits for it once.

    Raises:
        ValueError: there is no batch.
    """
    if not batches:
        raise ValueError("no batch to predict on")
    parts = [active.logits(batch.inputs).float() for batch in batches]
    order = torch.cat([batch.rows for batch in batches])
    gathered = torch.empty(rows, parts[0].shape[-1], device=parts[0].device)
    gathered[order] = torch.cat(parts)
    return gathered.cpu()
