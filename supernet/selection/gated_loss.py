"""The loss of a model whose adapters are scaled by gates, as a function of nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.plan import LORA_A, LORA_B
from elasticnas.supernet.selection.groups import Group
from elasticnas.supernet.selection.optimiser import Tensors
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.training.rows import TrainingRows


@dataclass(frozen=True)
class GatedLoss:
    """``loss(theta, gates, rows)`` of a super-network: the mean over the rows of these numbers.

    ``theta`` holds the adapters' tensors, ``<module>.lora_A`` and ``<module>.lora_B``, and those of
    the head that are learnt. A gate scales B, so what the adapter gives is scaled once. (The
    released code of Flexora scales the inputs of A, of B and of the dropout between them: by the
    gate's third power.) With ``twice`` the loss can be differentiated twice: attention is then
    plain matrix products, for its fused kernels have no second derivative.
    """

    supernet: Supernet
    groups: tuple[Group, ...]
    rows: TrainingRows
    device: torch.device
    twice: bool = False

    def __call__(self, theta: Tensors, gates: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """The loss on these rows, through which gradients flow to theta and the gates."""
        adapters = {
            module: replace(
                adapter,
                a=theta[f"{module}.{LORA_A}"],
                b=theta[f"{module}.{LORA_B}"] * gates[self._places[module]],
            )
            for module, adapter in self.supernet.adapters.items()
        }
        gated = replace(self.supernet, adapters=adapters)
        active = activate(gated, gated.space.maximal)
        head = {name: each for name, each in theta.items() if name not in self._of_adapters}
        with self._attention():
            return self.rows.loss(replace(active, tensors=active.tensors | head), rows, self.device)

    def _attention(self) -> AbstractContextManager[object]:
        return sdpa_kernel(SDPBackend.MATH) if self.twice else nullcontext()

    @cached_property
    def _places(self) -> dict[str, int]:
        """The number of the group that each module is of."""
        return {m: place for place, group in enumerate(self.groups) for m in group.modules}

    @cached_property
    def _of_adapters(self) -> frozenset[str]:
        return frozenset(
            f"{module}.{part}" for module in self.supernet.adapters for part in (LORA_A, LORA_B)
        )
