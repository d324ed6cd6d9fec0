"""The ``transformers`` format: a self-contained folder with the subnet's merged weights.

Where the subnet fits a stock config (equal FFN widths, all heads, any whole blocks) the folder
holds no code. Otherwise it carries ``modeling_subnet.py``, which gives each layer its own width,
and loads with ``trust_remote_code=True`` on a machine that has never heard of ElasticNAS.
"""

from __future__ import annotations

import copy
import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from transformers import PretrainedConfig

from elasticnas.api_schemas.spaces import HALVES
from elasticnas.api_schemas.weights import SubnetCard, WeightsFormat
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.end_tokens import GENERATION_FILE
from elasticnas.supernet.checkpoint.json_file import json_text, read_object
from elasticnas.supernet.checkpoint.model_config import CONFIG_FIELD
from elasticnas.supernet.checkpoint.tokenizer import copy_tokenizer
from elasticnas.supernet.export.carried_code import FILE as CODE_FILE
from elasticnas.supernet.export.heterogeneous import described
from elasticnas.supernet.export.lazy_tensors import LazyTensor, subnet_tensors
from elasticnas.supernet.export.model_card import write_model_card
from elasticnas.supernet.export.modeling_subnet import subnet_code
from elasticnas.supernet.export.safetensors_file import write_safetensors
from elasticnas.supernet.families.family import Family, HeadKind, Role
from elasticnas.supernet.forward.activation import active_blocks, active_halves
from elasticnas.supernet.supernet import Supernet


def write_transformers_folder(
    supernet: Supernet, subnet: SubnetConfig, card: SubnetCard, folder: Path
) -> None:
    """Write config, weights (safetensors), tokenizer, model card, and code where it is needed.

    Weights keep the dtypes of the checkpoint, and are made one by one while they are written.
    """
    if supernet.family.operations:
        _write_heterogeneous(supernet, subnet, card, folder)
        return
    tensors = subnet_tensors(supernet, subnet)
    config, task_head = _nearest_config(supernet, subnet, tensors), supernet.task_head
    with torch.device("meta"):
        stock = task_head.model_class(config).state_dict()
    shapes = {
        name.removesuffix(".weight"): list(tensor.shape)
        for name, tensor in tensors.items()
        if name.endswith(".weight") and tensor.shape != stock[name].shape
    }
    left_out = _left_out(supernet, subnet)
    needs_code = bool(shapes or left_out)
    if needs_code:
        class_name = f"Subnet{task_head.model_class.__name__}"
        config.linear_shapes, config.left_out = shapes, left_out
        config.auto_map = {task_head.auto_class: f"modeling_subnet.{class_name}"}
        code = subnet_code(supernet.family, task_head)
        (folder / "modeling_subnet.py").write_text(code, encoding="utf-8")
    else:
        class_name = task_head.model_class.__name__
        # Transformers 5 renames what it loads by the name of the stock class alone.
        tensors = {supernet.family.stored_name(name): each for name, each in tensors.items()}
    config.architectures = [class_name]
    config.save_pretrained(folder)
    if supernet.family.older_options is not None:
        _add_to(folder / "config.json", supernet.family.older_options(config))
    if task_head.kind is HeadKind.CAUSAL_LM:
        _copy_generation(supernet.base_folder, folder)
    _write_rest(supernet, subnet, card, folder, tensors, needs_code=needs_code)


def _write_heterogeneous(
    supernet: Supernet, subnet: SubnetConfig, card: SubnetCard, folder: Path
) -> None:
    """As `write_transformers_folder`, of a subnet whose layers differ in more than widths."""
    tensors = subnet_tensors(supernet, subnet)
    told = described(supernet, subnet, tensors)
    told.config.architectures = [told.class_name]
    told.config.dtype = _commonest_dtype(tensors)
    told.config.save_pretrained(folder)
    if told.code is not None:
        (folder / CODE_FILE).write_text(told.code, encoding="utf-8")
    _write_rest(supernet, subnet, card, folder, tensors, needs_code=told.code is not None)


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


def _nearest_config(
    supernet: Supernet, subnet: SubnetConfig, tensors: Mapping[str, LazyTensor]
) -> PretrainedConfig:
    """The config that says as much of the subnet as a stock one can: what all layers share."""
    family, config = supernet.family, copy.deepcopy(supernet.config)
    _name_tokens(config, supernet.base_folder)
    config.dtype = _commonest_dtype(tensors)
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
