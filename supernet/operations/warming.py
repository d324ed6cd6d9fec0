"""Fitting new operations to the attention beside them, a layer at a time.

Each is to give what attention gives: the least squares ``|new(x) - attention(x)|^2`` over the
tokens of some rows, x being what the maximal subnet has there. Of a transform that is a linear
regression, which is solved; of a convolution, whose kernels depend on the token, a few steps of
Adam. The weights that it shares with attention stay.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from elasticnas.supernet.operations.config import FURTHER
from elasticnas.supernet.operations.dynamic_convolution import DynamicConvolution

Batches = Sequence[tuple[torch.Tensor, torch.Tensor]]
"""Hidden states (rows, tokens, hidden size) and which of them are tokens (rows, tokens)."""

RIDGE = 1e-3
"""Of the mean square of the inputs, added to each in a regression."""
RATE = 1e-2


def warm(layer: Any, batches: Batches, *, steps: int, seed: int) -> None:
    """Fit all operations of a layer but its first, which is what they are fitted to."""
    model = next(iter(layer.operations.values()))
    with torch.no_grad():
        targets = [model(hidden, is_token, layer.attention) for hidden, is_token in batches]
    for operation in list(layer.operations.values())[1:]:
        if isinstance(operation, DynamicConvolution):
            _descend(operation, layer.attention, batches, targets, steps=steps, seed=seed)
        elif hasattr(operation, "transform"):
            _regress(operation, batches, targets)


def maximal(layer: nn.Module) -> nn.Module:
    """A layer as the maximal subnet runs it: its first operation, one feed-forward layer."""
    twin = copy.copy(layer)
    left = {name: each for name, each in layer._modules.items() if name not in ("join", *FURTHER)}
    twin.__dict__["_modules"] = left
    return twin


def _regress(operation: Any, batches: Batches, targets: Sequence[torch.Tensor]) -> None:
    """Solve for the linear layer behind a transform, its bias included."""
    size = operation.dense.in_features
    square = torch.zeros(size + 1, size + 1, dtype=torch.float64)
    cross = torch.zeros(size + 1, size, dtype=torch.float64)
    with torch.no_grad():
        for (hidden, is_token), target in zip(batches, targets, strict=True):
            found = operation.transform(hidden, is_token)[is_token].double().cpu()
            inputs = torch.cat((found, torch.ones(len(found), 1, dtype=torch.float64)), dim=1)
            square += inputs.T @ inputs
            cross += inputs.T @ target[is_token].double().cpu()
        ridge = RIDGE * square.diagonal()[:-1].mean()
        square.diagonal()[:-1] += ridge
        solved = torch.linalg.solve(square, cross)
        operation.dense.weight.copy_(solved[:-1].T)
        operation.dense.bias.copy_(solved[-1])


def _descend(
    operation: nn.Module,
    attention: Any,
    batches: Batches,
    targets: Sequence[torch.Tensor],
    *,
    steps: int,
    seed: int,
) -> None:
    """Train a convolution's own weights on one batch after another."""
    generator = torch.Generator().manual_seed(seed)
    parameters = [parameter.requires_grad_(True) for parameter in operation.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=RATE)
    for _ in range(steps):
        place = int(torch.randint(len(batches), (1,), generator=generator))
        hidden, is_token = batches[place]
        found = operation(hidden, is_token, attention)
        loss = (found - targets[place])[is_token].square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for parameter in parameters:
        parameter.requires_grad_(False)
