"""What a folder says of a subnet that has fewer blocks, heads or neurons than its base.

Where the subnet fits a stock config (equal FFN widths, all heads, any whole blocks) that is all.
Otherwise ``modeling_subnet.py`` gives each layer its own width.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PretrainedConfig

from elasticnas.api_schemas.spaces import HALVES
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.json_file import read_object
from elasticnas.supernet.checkpoint.model_config import CONFIG_FIELD
from elasticnas.supernet.export.description import Description
from elasticnas.supernet.export.lazy_tensors import LazyTensor
from elasticnas.supernet.export.modeling_subnet import FILE, given_widths, subnet_code
from elasticnas.supernet.families.family import Family, Role
from elasticnas.supernet.forward.activation import active_blocks, active_halves
from elasticnas.supernet.supernet import Supernet


def of_own_widths(
    supernet: Supernet, subnet: SubnetConfig, tensors: Mapping[str, LazyTensor]
) -> Description:
    """A stock config, or one with code for what it cannot say; ``tensors`` are the subnet's."""
    config, task_head = _nearest_config(supernet, subnet, tensors), supernet.task_head
    with torch.device("meta"):
        stock = task_head.model_class(config).state_dict()
    shapes = {
        name.removesuffix(".weight"): list(tensor.shape)
        for name, tensor in tensors.items()
        if name.endswith(".weight") and tensor.shape != stock[name].shape
    }
    left_out = _left_out(supernet, subnet)
    name = task_head.model_class.__name__
    if not shapes and not left_out:
        return Description(config, name, lambda: task_head.model_class(config))
    config.linear_shapes, config.left_out = shapes, left_out
    config.auto_map = {task_head.auto_class: f"{FILE.removesuffix('.py')}.Subnet{name}"}
    return Description(
        config,
        f"Subnet{name}",
        lambda: given_widths(task_head.model_class(config), supernet.family),
        FILE,
        subnet_code(supernet.family, task_head),
    )


def _nearest_config(
    supernet: Supernet, subnet: SubnetConfig, tensors: Mapping[str, LazyTensor]
) -> PretrainedConfig:
    """The config that says as much of the subnet as a stock one can: what all layers share."""
    family, config = supernet.family, copy.deepcopy(supernet.config)
    _name_tokens(config, supernet.base_folder)
    kept = active_blocks(supernet, subnet)
    setattr(config, family.depth, len(kept))
    for name in family.per_layer:
        setattr(config, name, [getattr(config, name)[block] for block in kept])
    inner = [f"{family.module(i, Role.FFN_IN)}.weight" for i in range(len(kept))]
    widths = {tensors[name].shape[0] for name in inner if name in tensors}
    if len(widths) == 1 and family.ffn_width is not None:
        setattr(config, family.ffn_width, widths.pop())
    outputs = [f"{family.module(i, Role.ATTENTION_OUTPUT)}.weight" for i in range(len(kept))]
    channels = {tensors[name].shape[1] for name in outputs if name in tensors}
    return _with_heads(config, family, channels.pop()) if len(channels) == 1 else config


def _with_heads(config: PretrainedConfig, family: Family, channels: int) -> PretrainedConfig:
    """The config with heads of so many channels together, where a stock model reads their size.

    LLaMA's takes no number of heads that does not divide the hidden size, and stays as it is.
    """
    size, group = family.head_size(config), family.head_channels(Role.ATTENTION_OUTPUT, config)
    if family.head_dim is None or channels == group * family.num_kv_heads(config):
        return config
    told = copy.deepcopy(config)
    setattr(told, family.heads, channels // size)
    setattr(told, family.head_dim, size)
    if family.kv_heads is not None:
        setattr(told, family.kv_heads, channels // group)
    try:
        type(told).from_dict(told.to_dict())
    except StrictDataclassError:
        return config
    return told


def _name_tokens(config: PretrainedConfig, base: Path) -> None:
    """Say which tokens begin and end a text, as the base model's own file does."""
    raw = read_object(base / "config.json", field=CONFIG_FIELD)
    for name in ("bos_token_id", "eos_token_id"):
        found = raw.get(name)
        if all(type(each) is int for each in (found if isinstance(found, list) else [found])):
            setattr(config, name, found)


def _left_out(supernet: Supernet, subnet: SubnetConfig) -> dict[str, str]:
    """The parts of the exported blocks that are not there, and what stands in for each."""
    family = supernet.family
    return {
        f"{family.layers}.{place}.{part}": gives
        for place, halves in enumerate(active_halves(supernet, subnet).values())
        for half in HALVES
        if half not in halves
        for part, gives in family.halves[half].parts.items()
    }
