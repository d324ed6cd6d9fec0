"""The raw numbers that a task's outcomes are made of."""

from __future__ import annotations

from collections.abc import Callable

import torch

from elasticnas.api_schemas.registry import Registry
from elasticnas.supernet.forward.activation import ActiveSubnet
from elasticnas.supernet.measuring.examples import Batch

Probe = Callable[[ActiveSubnet, Batch], torch.Tensor]
"""Runs a subnet on a batch; the raw numbers of its rows, shape (rows, numbers)."""


def logits(active: ActiveSubnet, batch: Batch) -> torch.Tensor:
    """A classifier's logits, shape (rows, classes); of a regression (rows, 1)."""
    return active.logits(batch.inputs)


PROBES: Registry[Probe] = Registry("probe")
"""Every probe, by the name that tasks have for it."""
PROBES.register("logits", logits)
