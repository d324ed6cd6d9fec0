"""The derivative of the outer loss by the alphas, after some inner steps.

Selection is a bilevel problem: ``min over alpha of R_outer(theta*(alpha), alpha)``, where
``theta*(alpha)`` minimises the loss on the training rows. It is followed K inner steps at a time.

- First order: theta is held fixed once it is learnt, and only the gates' own effect on the outer
  loss is differentiated, ``dR_outer/dalpha``. This is what the released code of Flexora computes.
- Unrolled: gradients flow through the K inner steps as well, ``dR_outer/dalpha +
  dR_outer/dtheta * dtheta_K/dalpha``, as the paper's formula has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from elasticnas.supernet.selection.gates import gates_of
from elasticnas.supernet.selection.optimiser import Optimiser, OptimiserState, Tensors

Loss = Callable[[Tensors, torch.Tensor, Any], torch.Tensor]
"""``loss(theta, gates, batch)``: a scalar that depends on these three alone.

``theta`` are the adapters' tensors by name, and all else that is learnt with them; ``gates`` has
shape (groups,), and scales what each group's adapters give, once.
"""

OUTER_SCALE = 0.8
"""Between 1/2 and 1: see `gates`."""


@dataclass(frozen=True)
class Lookahead:
    """What some inner steps led to. ``theta`` and ``state`` are cut off from what led there."""

    theta: dict[str, torch.Tensor]
    state: OptimiserState
    gradient: torch.Tensor
    """Of the outer loss by the alphas, in their shape."""
    inner_loss: float
    outer_loss: float


@dataclass(frozen=True)
class Problem:
    """What is learnt and how: the loss, the rule of the inner steps, and whether they are unrolled.

    The outer loss and its derivative are taken at ``outer_scale`` times the gates; what less than 1
    is for, `gates` says. With ``phantom`` the last alpha is that of an adapter that is not there.
    Inner steps that are unrolled take second derivatives, which scaled dot product attention has
    none of on a CPU: a model must be read with eager attention.
    """

    loss: Loss
    optimiser: Optimiser
    unrolled: bool = False
    phantom: bool = True
    outer_scale: float = 1.0

    def look_ahead(
        self,
        theta: Tensors,
        state: OptimiserState,
        alphas: torch.Tensor,
        inner: Sequence[Any],
        outer: Any,
    ) -> Lookahead:
        """One inner step on each of the ``inner`` batches, then the derivative on the outer one."""
        alphas = alphas.detach().requires_grad_(True)
        theta, state, losses = self.learn(theta, state, alphas, inner)
        loss = self.loss(theta, self._outer_gates(alphas, theta), outer)
        (gradient,) = torch.autograd.grad(loss, [alphas], materialize_grads=True)
        mean = sum(losses) / len(losses)
        return Lookahead(_cut(theta), _cut_off(state), gradient, mean, float(loss.detach()))

    def learn(
        self,
        theta: Tensors,
        state: OptimiserState,
        alphas: torch.Tensor,
        inner: Sequence[Any],
    ) -> tuple[dict[str, torch.Tensor], OptimiserState, list[float]]:
        """Inner steps alone: theta and the state after them, and each step's loss before it."""
        theta = {name: each.detach() for name, each in theta.items()}
        losses = []
        for batch in inner:
            theta = {name: _learnable(each) for name, each in theta.items()}
            gates = self._gates(alphas if self.unrolled else alphas.detach(), theta)
            loss = self.loss(theta, gates, batch)
            found = torch.autograd.grad(
                loss, list(theta.values()), create_graph=self.unrolled, materialize_grads=True
            )
            gradients = dict(zip(theta, found, strict=True))
            theta, state = self.optimiser.updated(theta, gradients, state)
            if not self.unrolled:
                theta, state = _cut(theta), _cut_off(state)
            losses.append(float(loss.detach()))
        return theta, state, losses

    def _outer_gates(self, alphas: torch.Tensor, theta: Tensors) -> torch.Tensor:
        """The gates moved towards 0 as they are: how they follow alphas stays the same."""
        gates = self._gates(alphas, theta)
        return gates - (1 - self.outer_scale) * gates.detach()

    def _gates(self, alphas: torch.Tensor, theta: Tensors) -> torch.Tensor:
        dtype = next(iter(theta.values())).dtype
        return gates_of(alphas, phantom=self.phantom, dtype=dtype)


def _learnable(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, with a gradient: one that the alphas led to has one already."""
    return tensor if tensor.requires_grad else tensor.detach().requires_grad_(True)


def _cut(tensors: Tensors) -> dict[str, torch.Tensor]:
    return {name: tensor.detach() for name, tensor in tensors.items()}


def _cut_off(state: OptimiserState) -> OptimiserState:
    return OptimiserState(state.steps, _cut(state.first), _cut(state.second))
