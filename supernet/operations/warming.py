"""Fitting new operations to the attention beside them, a layer at a time.

Each is to give what attention gives: the least squares ``|new(x) - attention(x)|^2`` over the
tokens of some rows, x being what the maximal subnet has there. A subnet of that operation alone has
something else there, for its layers before are not exact. So x is that as well, and the operation
is to give what leads back: ``attention(maximal's x) + maximal's x - x``.

Of a transform that is a linear regression, which is solved; of a convolution, whose kernels depend
on the token, a few steps of Adam. The weights that it shares with attention stay.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from elasticnas.supernet.operations.config import FURTHER
from elasticnas.supernet.operations.dynamic_convolution import DynamicConvolution

States = Sequence[torch.Tensor]
"""Hidden states of batches, (rows, tokens, hidden size) each."""
Masks = Sequence[torch.Tensor]
"""Which of them are tokens, (rows, tokens) each."""
Pair = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Hidden states, which of them are tokens, and what an operation is to give for them."""

RIDGE = 1e-3
"""Of the mean square of the inputs, added to each in a regression."""
RATE = 1e-2


def fitted(layer: Any) -> tuple[str, ...]:
    """The operations of a layer that start unlike its first, which is what they are fitted to."""
    return tuple(
        name
        for name, each in layer.operations.items()
        if isinstance(each, DynamicConvolution) or hasattr(each, "transform")
    )


def warm(
    layer: Any,
    states: States,
    own: Mapping[str, States],
    masks: Masks,
    *,
    steps: int,
    seed: int,
) -> None:
    """Fit the operations of a layer to its first.

    ``states`` are what the maximal subnet has before the layer, ``own`` what a subnet of an
    operation alone has there.
    """
    model = next(iter(layer.operations.values()))
    with torch.no_grad():
        targets = [
            model(hidden, is_token, layer.attention)
            for hidden, is_token in zip(states, masks, strict=True)
        ]
    for name in fitted(layer):
        pairs = list(zip(states, masks, targets, strict=True))
        for mine, known, is_token, target in zip(own[name], states, masks, targets, strict=True):
            pairs.append((mine, is_token, target + known - mine))
        operation = layer.operations[name]
        if isinstance(operation, DynamicConvolution):
            _descend(operation, layer.attention, pairs, steps=steps, seed=seed)
        else:
            _regress(operation, pairs)


def as_chosen(layer: nn.Module, operation: str | None = None) -> nn.Module:
    """A layer as a subnet runs it that is maximal but for its operation (None: that too)."""
    twin = copy.copy(layer)
    left = {name: each for name, each in layer._modules.items() if name not in ("join", *FURTHER)}
    if operation is not None:
        chosen = layer.get_submodule(f"operations.{operation}")
        left["operations"] = nn.ModuleDict({operation: chosen})
    twin.__dict__["_modules"] = left
    return twin


def _regress(operation: Any, pairs: Sequence[Pair]) -> None:
    """Solve for the linear layer behind a transform, its bias included."""
    size = operation.dense.in_features
    square = torch.zeros(size + 1, size + 1, dtype=torch.float64)
    cross = torch.zeros(size + 1, size, dtype=torch.float64)
    with torch.no_grad():
        for hidden, is_token, target in pairs:
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
    operation: nn.Module, attention: Any, pairs: Sequence[Pair], *, steps: int, seed: int
) -> None:
    """Train a convolution's own weights on one batch after another."""
    generator = torch.Generator().manual_seed(seed)
    parameters = [parameter.requires_grad_(True) for parameter in operation.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=RATE)
    for _ in range(steps):
        place = int(torch.randint(len(pairs), (1,), generator=generator))
        hidden, is_token, target = pairs[place]
        found = operation(hidden, is_token, attention)
        loss = (found - target)[is_token].square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for parameter in parameters:
        parameter.requires_grad_(False)
