"""AdamW and SGD as functions: a step that gradients can flow through.

``torch.optim`` changes parameters in place, which a loss that is differentiated through the step
does not survive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class OptimiserState:
    """How many steps were made, and the moments of each tensor, by its name."""

    steps: int = 0
    first: Tensors = field(default_factory=dict)
    second: Tensors = field(default_factory=dict)


FRESH = OptimiserState()


class Optimiser(Protocol):
    """A rule by which tensors learn from their gradients."""

    def updated(
        self, tensors: Tensors, gradients: Tensors, state: OptimiserState
    ) -> tuple[dict[str, torch.Tensor], OptimiserState]:
        """The tensors after a step, and the state after it."""
        ...


@dataclass(frozen=True)
class Sgd:
    """Plain gradient descent."""

    learning_rate: float

    def updated(
        self, tensors: Tensors, gradients: Tensors, state: OptimiserState
    ) -> tuple[dict[str, torch.Tensor], OptimiserState]:
        """See `Optimiser.updated`."""
        step = self.learning_rate
        moved = {name: each - step * gradients[name] for name, each in tensors.items()}
        return moved, OptimiserState(state.steps + 1)


@dataclass(frozen=True)
class Adam:
    """AdamW (Loshchilov & Hutter 2019), whose second moment gradients do not flow through.

    Where a gradient is 0 the derivative of its root is infinite: at the start of LoRA, where B is
    zero, differentiating it gives NaN. It is taken as a constant, as the scale that it is.
    """

    learning_rate: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8

    def updated(
        self, tensors: Tensors, gradients: Tensors, state: OptimiserState
    ) -> tuple[dict[str, torch.Tensor], OptimiserState]:
        """See `Optimiser.updated`."""
        steps, step = state.steps + 1, self.learning_rate
        moved, first, second = {}, {}, {}
        for name, tensor in tensors.items():
            moments = state.first.get(name, 0.0), state.second.get(name, 0.0)
            first[name], second[name] = self._moments(gradients[name], *moments)
            shrunk = tensor * (1 - step * self.weight_decay) if self.weight_decay else tensor
            moved[name] = shrunk - step * self._direction(first[name], second[name], steps)
        return moved, OptimiserState(steps, first, second)

    def _moments(
        self, gradient: torch.Tensor, first: torch.Tensor | float, second: torch.Tensor | float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        one, two = self.betas
        squared = gradient.detach().square()
        return one * first + (1 - one) * gradient, two * second + (1 - two) * squared

    def _direction(self, first: torch.Tensor, second: torch.Tensor, steps: int) -> torch.Tensor:
        one, two = self.betas
        scale = (second / (1 - two**steps)).sqrt() + self.epsilon
        return first / (1 - one**steps) / scale


@dataclass(frozen=True)
class DualAveraging:
    """Dual averaging (Nesterov 2009) at AdaGrad's rate (Duchi, Hazan & Singer 2011), from zeros.

    A tensor is ``-learning_rate`` times the sum of all its gradients so far, over the root of the
    sum of their mean squares. So every gradient counts for what it is beside all others, those
    before it and those behind: one that was the largest of its time counts little once larger ones
    have come. A tensor has one scale, and its numbers keep the proportions of their sums. Numbers
    whose gradients are noise, with a deviation like the scale, end about ``learning_rate`` from
    zero; those of constant gradients as many times that as the root of the number of steps.
    """

    learning_rate: float

    def updated(
        self, tensors: Tensors, gradients: Tensors, state: OptimiserState
    ) -> tuple[dict[str, torch.Tensor], OptimiserState]:
        """See `Optimiser.updated`; where ``tensors`` are now is in the state alone."""
        moved, sums, squares = {}, {}, {}
        for name in tensors:
            gradient = gradients[name]
            sums[name] = state.first.get(name, 0.0) + gradient
            squares[name] = state.second.get(name, 0.0) + gradient.detach().square().mean()
            moved[name] = -self.learning_rate * sums[name] / squares[name].sqrt().clamp_min(_TINY)
        return moved, OptimiserState(state.steps + 1, sums, squares)


_TINY = 1e-30
