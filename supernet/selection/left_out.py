"""What each group does to the loss, by leaving it out: a cross-check beside the gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from elasticnas.supernet.selection.hypergradient import Loss
from elasticnas.supernet.selection.optimiser import Tensors


@dataclass(frozen=True)
class Effects:
    """On some rows: their mean loss, and what becomes of it.

    ``rises`` has the difference that leaving each group out makes, ``derivatives`` that of the loss
    by each group's gate.
    """

    outer_loss: float
    rises: list[float]
    derivatives: list[float]


def effects(
    loss: Loss, theta: Tensors, gates: torch.Tensor, rows: Sequence[int], batch_size: int
) -> Effects:
    """The effects of groups with these ``gates`` (groups,) on the mean loss of the rows."""
    batches = [rows[at : at + batch_size] for at in range(0, len(rows), batch_size)]
    whole, derivatives = _with_derivatives(loss, theta, gates, batches)
    rises = []
    for group in range(len(gates)):
        without = gates.detach().clone()
        without[group] = 0
        with torch.no_grad():
            rises.append(_mean([float(loss(theta, without, b)) for b in batches], batches) - whole)
    return Effects(whole, rises, derivatives)


def _with_derivatives(
    loss: Loss, theta: Tensors, gates: torch.Tensor, batches: Sequence[Sequence[int]]
) -> tuple[float, list[float]]:
    gates = gates.detach().requires_grad_(True)
    losses, found = [], []
    for batch in batches:
        value = loss(theta, gates, batch)
        (gradient,) = torch.autograd.grad(value, [gates], materialize_grads=True)
        losses.append(float(value.detach()))
        found.append(gradient.tolist())
    return _mean(losses, batches), [_mean(each, batches) for each in zip(*found, strict=True)]


def _mean(values: Sequence[float], batches: Sequence[Sequence[int]]) -> float:
    """The mean over batches by the number of their rows."""
    rows = [len(batch) for batch in batches]
    return sum(v * n for v, n in zip(values, rows, strict=True)) / sum(rows)
