"""The ``transformers`` format: a self-contained folder with the subnet's merged weights.

Where a stock class is the subnet the folder holds no code. Otherwise it carries a file of code, and
loads with ``trust_remote_code=True`` on a machine that has never heard of ElasticNAS.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch

from elasticnas.api_schemas.weights import SubnetCard, WeightsFormat
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.end_tokens import GENERATION_FILE
from elasticnas.supernet.checkpoint.json_file import json_text, read_object
from elasticnas.supernet.checkpoint.tokenizer import copy_tokenizer
from elasticnas.supernet.export.description import Description
from elasticnas.supernet.export.heterogeneous import heterogeneous
from elasticnas.supernet.export.lazy_tensors import LazyTensor, subnet_tensors
from elasticnas.supernet.export.model_card import write_model_card
from elasticnas.supernet.export.own_widths import of_own_widths
from elasticnas.supernet.export.safetensors_file import write_safetensors
from elasticnas.supernet.families.family import HeadKind
from elasticnas.supernet.supernet import Supernet


def write_transformers_folder(
    supernet: Supernet, subnet: SubnetConfig, card: SubnetCard, folder: Path
) -> None:
    """Write config, weights (safetensors), tokenizer, model card, and code where it is needed.

    Weights keep the dtypes of the checkpoint, and are made one by one while they are written.
    """
    tensors = subnet_tensors(supernet, subnet)
    told = described(supernet, subnet, tensors)
    if told.code is not None:
        (folder / told.code_file).write_text(told.code, encoding="utf-8")
    else:
        # Transformers 5 renames what it loads by the name of the stock class alone.
        tensors = {supernet.family.stored_name(name): each for name, each in tensors.items()}
    told.config.save_pretrained(folder)
    if supernet.family.older_options is not None:
        _add_to(folder / "config.json", supernet.family.older_options(told.config))
    if supernet.task_head.kind is HeadKind.CAUSAL_LM:
        _copy_generation(supernet.base_folder, folder)
    _write_rest(supernet, subnet, card, folder, tensors, needs_code=told.code is not None)


def described(
    supernet: Supernet, subnet: SubnetConfig, tensors: Mapping[str, LazyTensor]
) -> Description:
    """What the folder of a subnet says of it; ``tensors`` are its file's."""
    describe = heterogeneous if supernet.family.operations else of_own_widths
    told = describe(supernet, subnet, tensors)
    told.config.architectures = [told.class_name]
    told.config.dtype = _commonest_dtype(tensors)
    return told


def _write_rest(
    supernet: Supernet,
    subnet: SubnetConfig,
    card: SubnetCard,
    folder: Path,
    tensors: Mapping[str, LazyTensor],
    *,
    needs_code: bool,
) -> None:
    """Write the weights, the tokenizer, and the model card with what was counted in the weights."""
    nonzero_params = write_safetensors(tensors, folder / "model.safetensors")
    copy_tokenizer(supernet.base_folder, folder)
    write_model_card(
        folder,
        supernet,
        subnet,
        card,
        WeightsFormat.TRANSFORMERS,
        nonzero_params,
        needs_code=needs_code,
    )


def _add_to(file: Path, options: Mapping[str, object]) -> None:
    """Add options to a config that was saved: Transformers 5 takes some for others' names."""
    said = json.loads(file.read_text(encoding="utf-8")) | options
    file.write_text(json.dumps(said, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _copy_generation(base: Path, folder: Path) -> None:
    """Copy how the base model generates, where it says so.

    Raises:
        InputError: the file is no JSON object.
    """
    if (base / GENERATION_FILE).is_file():
        read_object(base / GENERATION_FILE, field=f"base/{GENERATION_FILE}")
        (folder / GENERATION_FILE).write_text(json_text(base / GENERATION_FILE), encoding="utf-8")


def _commonest_dtype(tensors: Mapping[str, LazyTensor]) -> torch.dtype:
    """The floating dtype of most numbers."""
    numbers: Counter[torch.dtype] = Counter()
    for each in tensors.values():
        if each.dtype.is_floating_point:
            numbers[each.dtype] += math.prod(each.shape)
    return numbers.most_common(1)[0][0]


def subnet_state(supernet: Supernet, subnet: SubnetConfig) -> dict[str, torch.Tensor]:
    """The whole state dict of a subnet, as its file holds it."""
    return {name: each.make() for name, each in subnet_tensors(supernet, subnet).items()}
