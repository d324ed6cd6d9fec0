"""How far a model's answers move where the attention or the FFN of a block is left out.

SLEB (Song et al. 2024, "Streamlining LLMs through Redundancy Verification and Elimination of
Transformer Blocks", section 3) leaves out what the model's own predictions miss least, and tries it
to know. Here the halves of blocks are tried one by one, each in the full model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedModel

from elasticnas.api_schemas.spaces import HALVES
from elasticnas.supernet.elasticity.derived_space import derived_space, without_half
from elasticnas.supernet.formats.elasticnas import ELASTICNAS, elastic_part
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.plan import ModelShape
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.training.rows import TrainingRows


class HalfDrops:
    """``sums`` (blocks, `HALVES`) over the rows so far of the distance from the full model.

    In float64 on the CPU.
    """

    def __init__(self, model: PreTrainedModel, shape: ModelShape) -> None:
        halves = [(layer, half) for layer in range(shape.num_layers) for half in HALVES]
        elastic = elastic_part(derived_space(shape, halves_out=halves, tokens=1), shape)
        self._supernet = Supernet(
            method=ELASTICNAS.name,
            family=shape.family,
            model=model,
            adapters={},
            space=elastic.space,
            plan=elastic.plan,
            reference_length=1,
            folder=Path(),
        )
        self._without = [elastic.space.subnet(without_half(*each)) for each in halves]
        self.sums = torch.zeros(shape.num_layers, len(HALVES), dtype=torch.float64)

    def add(self, rows: TrainingRows, some: Sequence[int], device: torch.device) -> None:
        """Try all halves on some rows."""
        sums = self.sums.view(-1)
        with torch.inference_mode():
            full = activate(self._supernet, self._supernet.space.maximal)
            whole = rows.logits(full, some, device)
            for place, subnet in enumerate(self._without):
                found = rows.logits(activate(self._supernet, subnet), some, device)
                sums[place] += float(rows.distance(found, whole, some, 1.0)) * len(some)
