"""The ``transformers`` format: a self-contained folder with the subnet's merged weights.

Where the subnet's widths fit a stock config (equal FFN widths, all heads, any blocks) the folder
holds no code. Otherwise it carries ``modeling_subnet.py``, which gives each layer its own width,
and loads with ``trust_remote_code=True`` on a machine that has never heard of ElasticNAS.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import PretrainedConfig

from elasticnas.api_schemas.weights import SubnetCard, WeightsFormat
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.tensor_names import stored_tensors
from elasticnas.supernet.checkpoint.tokenizer import copy_tokenizer
from elasticnas.supernet.export.model_card import write_model_card
from elasticnas.supernet.export.modeling_subnet import subnet_code
from elasticnas.supernet.families.family import Role
from elasticnas.supernet.forward.activation import active_blocks, active_tensors
from elasticnas.supernet.supernet import Supernet


def write_transformers_folder(
    supernet: Supernet, subnet: SubnetConfig, card: SubnetCard, folder: Path
) -> None:
    """Write config, weights (safetensors), tokenizer, model card, and code where it is needed."""
    state = subnet_state(supernet, subnet)
    config, task_head = _nearest_config(supernet, subnet, state), supernet.task_head
    with torch.device("meta"):
        stock = task_head.model_class(config).state_dict()
    shapes = {
        name.removesuffix(".weight"): list(tensor.shape)
        for name, tensor in state.items()
        if name.endswith(".weight") and tensor.shape != stock[name].shape
    }
    if shapes:
        class_name = f"Subnet{task_head.model_class.__name__}"
        config.linear_shapes = shapes
        config.auto_map = {task_head.auto_class: f"modeling_subnet.{class_name}"}
        code = subnet_code(supernet.family, task_head)
        (folder / "modeling_subnet.py").write_text(code, encoding="utf-8")
    else:
        class_name = task_head.model_class.__name__
    config.architectures = [class_name]
    config.save_pretrained(folder)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    copy_tokenizer(supernet.folder / "base", folder)
    write_model_card(
        folder,
        supernet,
        subnet,
        card,
        WeightsFormat.TRANSFORMERS,
        state.values(),
        needs_code=bool(shapes),
    )


def _nearest_config(
    supernet: Supernet, subnet: SubnetConfig, state: Mapping[str, torch.Tensor]
) -> PretrainedConfig:
    """The config that says as much of the subnet as a stock one can: what all layers share."""
    family, config = supernet.family, copy.deepcopy(supernet.config)
    kept = active_blocks(supernet, subnet)
    setattr(config, family.depth, len(kept))
    for name in family.per_layer:
        setattr(config, name, [getattr(config, name)[block] for block in kept])
    widths = {len(state[f"{family.module(i, Role.FFN_IN)}.weight"]) for i in range(len(kept))}
    if len(widths) == 1 and family.ffn_width is not None:
        setattr(config, family.ffn_width, widths.pop())
    outputs = [f"{family.module(i, Role.ATTENTION_OUTPUT)}.weight" for i in range(len(kept))]
    channels = {state[name].shape[1] for name in outputs}
    if len(channels) == 1 and family.has_own_head_size(config):
        group = family.head_channels(Role.ATTENTION_OUTPUT, config)
        kv_heads = channels.pop() // group
        setattr(config, family.heads, kv_heads * group // family.head_size(config))
        if family.kv_heads is not None:
            setattr(config, family.kv_heads, kv_heads)
    return config


def subnet_state(supernet: Supernet, subnet: SubnetConfig) -> dict[str, torch.Tensor]:
    """The whole state dict of a subnet: active tensors copied out, its blocks counted from 0."""
    family, kept = supernet.family, active_blocks(supernet, subnet)
    places = {block: place for place, block in enumerate(kept)}
    with torch.inference_mode():
        active = active_tensors(supernet, subnet, merges_all=True)
        return {
            family.renumbered(name, places): active.get(name, tensor).clone().contiguous()
            for name, tensor in stored_tensors(supernet.model).items()
            if family.layer_of(name) in (None, *kept)
        }
