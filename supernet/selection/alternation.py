"""The alternation: adapters learn from training rows, gates from rows that were held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from elasticnas.supernet.selection.gates import by_gates, gates_of
from elasticnas.supernet.selection.hypergradient import Problem
from elasticnas.supernet.selection.optimiser import FRESH, Optimiser, OptimiserState, Tensors

_ALPHAS = "alphas"


@dataclass(frozen=True)
class Told:
    """The losses of one turn; an inner one is of before its step, and the mean of several."""

    inner_loss: float
    outer_loss: float


@dataclass
class Alternation:
    """Turns of inner steps on ``theta`` and one outer step on ``alphas``.

    Everything that the next turn depends on is in `state`.
    """

    problem: Problem
    theta: Tensors
    alphas: torch.Tensor
    gate_optimiser: Optimiser
    _inner_state: OptimiserState = field(default=FRESH)
    _gate_state: OptimiserState = field(default=FRESH)

    @property
    def gates(self) -> torch.Tensor:
        """What the groups are scaled by now, (groups,), in theta's dtype."""
        dtype = next(iter(self.theta.values())).dtype
        return gates_of(self.alphas, phantom=self.problem.phantom, dtype=dtype)

    def turn(self, inner: Sequence[Any], outer: Any) -> Told:
        """Learn from each of the ``inner`` batches, then move the alphas by the outer one."""
        found = self.problem.look_ahead(self.theta, self._inner_state, self.alphas, inner, outer)
        self.theta, self._inner_state = found.theta, found.state
        gradient = found.gradient
        if self.problem.phantom:
            gradient = by_gates(gradient, self.alphas)
        moved, self._gate_state = self.gate_optimiser.updated(
            {_ALPHAS: self.alphas}, {_ALPHAS: gradient}, self._gate_state
        )
        self.alphas = moved[_ALPHAS]
        return Told(found.inner_loss, found.outer_loss)

    def state(self) -> dict[str, Any]:
        """What `restore` takes: tensors, numbers and dictionaries of them."""
        return {
            "theta": dict(self.theta),
            "alphas": self.alphas,
            "inner": _as_dict(self._inner_state),
            "gates": _as_dict(self._gate_state),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.theta, self.alphas = state["theta"], state["alphas"]
        self._inner_state = OptimiserState(**state["inner"])
        self._gate_state = OptimiserState(**state["gates"])


def _as_dict(state: OptimiserState) -> dict[str, Any]:
    return {"steps": state.steps, "first": dict(state.first), "second": dict(state.second)}
