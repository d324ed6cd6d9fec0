"""Writing a base model again with some of its tensors changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors.torch import save_file

from elasticnas.supernet.checkpoint.tensor_names import model_names
from elasticnas.supernet.checkpoint.tensors import read_tensors
from elasticnas.supernet.checkpoint.tokenizer import copy_tokenizer
from elasticnas.supernet.families.family import Family

_SHARD = 2**30
"""A file holds at most so many bytes: only these of a model are in memory as they are written."""


def write_changed_copy(
    source: Path, family: Family, change: Callable[[str, torch.Tensor], torch.Tensor], output: Path
) -> None:
    """Write the model of ``source`` into ``output``, each tensor as ``change`` makes it.

    ``change`` is told the tensor's name too. Dtypes and shapes stay. The files of ``source`` are
    read, and never written to.
    """
    tensors = model_names(read_tensors(source, "model", label="base"), family)
    split = split_torch_state_dict_into_shards(
        tensors, filename_pattern="model{suffix}.safetensors", max_shard_size=_SHARD
    )
    for file, names in split.filename_to_tensors.items():
        # Tensors of their own, whatever memory they shared.
        shard = {name: change(name, tensors[name]).clone() for name in names}
        save_file(shard, output / file, metadata={"format": "pt"})
    if split.is_sharded:
        index = {"metadata": split.metadata, "weight_map": split.tensor_to_filename}
        (output / "model.safetensors.index.json").write_text(
            json.dumps(index, indent=2), encoding="utf-8"
        )
    for file in ("config.json", "generation_config.json"):
        if (source / file).is_file():
            shutil.copy(source / file, output / file)
    copy_tokenizer(source, output)
