"""Writing a base model again with some of its weights zero."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from elasticnas.supernet.checkpoint.changed_copy import write_changed_copy
from elasticnas.supernet.families.family import Family

Masks = dict[str, torch.Tensor]
"""Which weights of a linear module are kept, by its name: `packed`, a bit for each."""


def packed(mask: torch.Tensor) -> torch.Tensor:
    """A boolean matrix (outputs, inputs) as bytes (outputs, inputs / 8), on the CPU."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy(), axis=1))


def unpacked(bits: torch.Tensor, inputs: int) -> torch.Tensor:
    """The inverse of `packed`."""
    return torch.from_numpy(np.unpackbits(bits.numpy(), axis=1, count=inputs)).bool()


def write_sparse_copy(source: Path, family: Family, masks: Masks, output: Path) -> None:
    """Write the model of ``source`` into ``output``, zero where ``masks`` do not keep a weight."""
    write_changed_copy(source, family, partial(_masked, masks), output)


def _masked(masks: Masks, name: str, tensor: torch.Tensor) -> torch.Tensor:
    if (bits := masks.get(name.removesuffix(".weight"))) is None or not name.endswith(".weight"):
        return tensor
    return torch.where(unpacked(bits, tensor.shape[1]), tensor, 0)
