"""Students that learn a teacher's hidden states, layer by layer.

Jiao et al. 2020, "TinyBERT", section 3.1 (equation 8), between layers of the same place and width,
so without a projection between the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.forward.activation import ActiveSubnet, Splice, activate, active_blocks
from elasticnas.supernet.supernet import Supernet

States = Sequence[torch.Tensor]
"""What is behind each layer that a subnet has: (rows, tokens, hidden size)."""


def showing(supernet: Supernet, subnet: SubnetConfig) -> tuple[ActiveSubnet, list[torch.Tensor]]:
    """A subnet as something that runs, and the list that its hidden states are put into."""
    seen: list[torch.Tensor] = []
    layers = len(active_blocks(supernet, subnet))
    taps = dict.fromkeys(range(1, 1 + layers), seen.append)
    return activate(supernet, subnet, Splice(taps=taps)), seen


def comparable(student: States, teacher: States) -> bool:
    """Whether a student has as many layers as its teacher, and all of them as wide."""
    return [each.shape for each in student] == [each.shape for each in teacher]


def distance(student: States, teacher: States, is_token: torch.Tensor) -> torch.Tensor:
    """``|student - teacher|^2 / |teacher|^2`` over all tokens, the mean over the layers."""
    there = is_token[..., None]
    shares = [
        ((mine - known) * there).square().sum() / (known * there).square().sum()
        for mine, known in zip(student, teacher, strict=True)
    ]
    return torch.stack(shares).mean()
