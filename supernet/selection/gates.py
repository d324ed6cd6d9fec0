"""Gates of groups of adapters, and one for a phantom adapter that is not there.

Flexora (Wei, Shu, He, Yu 2024, "Flexora: Flexible Low-Rank Adaptation for Large Language Models")
relaxes which layers are kept to one number alpha for each, and scales the layer's adapter by
``N * softmax(alpha)``: all gates are 1 at first, and their mean always is. Such gates only compare
groups. The phantom is ours: a gate that scales nothing, so its derivative is exactly 0. A group
whose alpha ends above the phantom's lowered the loss on the rows that gates are learnt on; one that
ends below raised it. So "none helps" and "all help" become possible answers.
"""

from __future__ import annotations

import torch


def first_alphas(groups: int, *, phantom: bool, device: torch.device | None = None) -> torch.Tensor:
    """The alphas that a selection begins with, (groups,), with a phantom (groups + 1,): zeros.

    In float64, so that groups of equal derivatives stay equal.
    """
    return torch.zeros(groups + phantom, dtype=torch.float64, device=device)


def gates_of(alphas: torch.Tensor, *, phantom: bool, dtype: torch.dtype) -> torch.Tensor:
    """The gates (groups,) of groups with these ``alphas``, of which the last is the phantom's."""
    gates = len(alphas) * torch.softmax(alphas, dim=0)
    return (gates[:-1] if phantom else gates).to(dtype)
