"""Gates of groups of adapters, and one for a phantom adapter that is not there.

Flexora (Wei, Shu, He, Yu 2024, "Flexora: Flexible Low-Rank Adaptation for Large Language Models")
relaxes which layers are kept to one number alpha for each, and scales the layer's adapter by
``N * softmax(alpha)``: all gates are 1 at first, and their mean always is. Such gates only compare
groups. The phantom is ours: a gate that scales nothing, so its derivative is exactly 0. A group
whose alpha ends above the phantom's lowered the loss on the rows that gates are learnt on; one that
ends below raised it. So "none helps" and "all help" become possible answers.

For that, alphas must not move as the released code moves them, by Adam on the derivative by alpha.
Softmax ties that derivative to the other groups: with S the sum of ``gate * dR/dgate`` over all N,
it is ``gate * (dR/dgate - S / N)``. Of a group that helps less than the mean it has the sign of the
phantom's, and Adam, which sees little but signs, moves both alike: a weak but useful group is lost
beside strong ones. With a phantom, alphas follow ``dR/dgate`` itself (`by_gates`), at one rate for
all (`gate_optimiser`). It is the exponentiated gradient of Kivinen & Warmuth 1997.
"""

from __future__ import annotations

import torch

from elasticnas.supernet.selection.optimiser import Adam


def first_alphas(groups: int, *, phantom: bool, device: torch.device | None = None) -> torch.Tensor:
    """The alphas that a selection begins with, (groups,), with a phantom (groups + 1,): zeros.

    In float64, so that groups of equal derivatives stay equal.
    """
    return torch.zeros(groups + phantom, dtype=torch.float64, device=device)


def gates_of(alphas: torch.Tensor, *, phantom: bool, dtype: torch.dtype) -> torch.Tensor:
    """The gates (groups,) of groups with these ``alphas``, of which the last is the phantom's."""
    gates = len(alphas) * torch.softmax(alphas, dim=0)
    return (gates[:-1] if phantom else gates).to(dtype)


def by_gates(gradient: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
    """The derivative by the gates, of one by ``alphas`` whose last is the phantom's; in its shape.

    Exactly 0 for the phantom, and 0 but for rounding for a group that changes nothing.
    """
    tied = gradient / gates_of(alphas, phantom=False, dtype=alphas.dtype)
    return tied - tied[-1]


def gate_optimiser(learning_rate: float, *, phantom: bool) -> Adam:
    """What moves alphas. With a phantom all have one scale, and so keep their proportions."""
    return Adam(learning_rate, one_scale=phantom)
