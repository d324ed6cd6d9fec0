"""Writing a base model again with some of its weights zero."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file

from elasticnas.supernet.checkpoint.tensor_names import model_names
from elasticnas.supernet.checkpoint.tensors import read_tensors
from elasticnas.supernet.checkpoint.tokenizer import copy_tokenizer
from elasticnas.supernet.families.family import Family

Masks = dict[str, torch.Tensor]
"""Which weights of a linear module are kept, by its name: `packed`, a bit for each."""

_SHARD = 2**30
"""A file holds at most so many bytes: only these of a model are in memory as they are written."""


def packed(mask: torch.Tensor) -> torch.Tensor:
    """A boolean matrix (outputs, inputs) as bytes (outputs, inputs / 8), on the CPU."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy(), axis=1))


def unpacked(bits: torch.Tensor, inputs: int) -> torch.Tensor:
    """The inverse of `packed`."""
    return torch.from_numpy(np.unpackbits(bits.numpy(), axis=1, count=inputs)).bool()


def write_sparse_copy(source: Path, family: Family, masks: Masks, output: Path) -> None:
    """Write the model of ``source`` into ``output``, zero where ``masks`` do not keep a weight.

    Tensors keep their dtype. The files of ``source`` are read, and never written to.
    """
    tensors = model_names(read_tensors(source, "model", label="base"), family)
    split = split_torch_state_dict_into_shards(
        tensors, filename_pattern="model{suffix}.safetensors", max_shard_size=_SHARD
    )
    for file, names in split.filename_to_tensors.items():
        shard = {name: _masked(name, tensors[name], masks) for name in names}
        save_file(shard, output / file, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (output / "model.safetensors.index.json").write_text(
            json.dumps(index, indent=2), encoding="utf-8"
        )
    shutil.copy(source / "config.json", output / "config.json")
    copy_tokenizer(source, output)


def _masked(name: str, tensor: torch.Tensor, masks: Masks) -> torch.Tensor:
    """A tensor of its own, whatever memory it shared."""
    if (bits := masks.get(name.removesuffix(".weight"))) is None or not name.endswith(".weight"):
        return tensor.clone()
    return torch.where(unpacked(bits, tensor.shape[1]), tensor, 0)
