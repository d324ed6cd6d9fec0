"""The ``peft`` format: a stock LoRA adapter for the unmodified base model.

Only ranks may differ from the super-network's: a stock adapter cannot make a base layer narrower.

A super-network trains with alpha / maximal rank throughout. PEFT computes alpha / r for each
module, with the r of its ``rank_pattern`` and the alpha of its ``alpha_pattern``; servers such as
vLLM know neither, and take ``lora_alpha / r`` for all modules. Here both come to one and the same
number: r is the largest rank, alpha belongs to it, and a smaller rank's alpha is smaller in
proportion. Where modules were trained with different scalings, what a module's differs by is in
its B. Ranks are not padded. An adapter of rank 0, which PEFT refuses, is
no target at all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import RANK
from elasticnas.api_schemas.weights import SubnetCard, WeightsFormat
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.tokenizer import copy_tokenizer
from elasticnas.supernet.export.lazy_tensors import LazyTensor, lazy
from elasticnas.supernet.export.model_card import write_model_card
from elasticnas.supernet.export.safetensors_file import write_safetensors
from elasticnas.supernet.forward.activation import active_adapter
from elasticnas.supernet.plan import Join
from elasticnas.supernet.supernet import Supernet

_PREFIX = "base_model.model."


def write_peft_adapter(
    supernet: Supernet, subnet: SubnetConfig, card: SubnetCard, folder: Path
) -> None:
    """Write ``adapter_config.json``, ``adapter_model.safetensors``, tokenizer and model card.

    Raises:
        InputError: the super-network has no adapter or masked ones, or the subnet cuts more than
            ranks, or has no adapter left.
    """
    if not supernet.adapters:
        raise InputError(
            "the super-network has no LoRA adapter to export",
            field="format",
            value="peft",
            remedy="ask for format=transformers",
        )
    if any(
        adapter.join in (Join.MASKED, Join.MASKED_IN_TURN) for adapter in supernet.adapters.values()
    ):
        raise InputError(
            "PEFT would fill the zeros of the sparse base, which these adapters keep",
            field="format",
            value="peft",
            remedy="ask for format=transformers",
        )
    for dimension in supernet.space.dimensions:
        choice = subnet[dimension.name]
        if dimension.part != RANK and choice != dimension.choices[0]:
            raise InputError(
                f"a stock adapter cannot cut the base model, but the subnet has "
                f"{dimension.name} = {choice} of {dimension.choices[0]}",
                field="format",
                value="peft",
                remedy="ask for format=transformers, or choose a subnet that cuts ranks only",
            )
    tensors: dict[str, LazyTensor] = {}
    ranks: dict[str, int] = {}
    scaling = _commonest_scaling(supernet)
    for module in supernet.adapters:
        if (active := active_adapter(supernet, module, subnet)) is None:
            continue
        share = active.scaling / scaling
        b = active.b if share == 1 else active.b.float() * share
        tensors[f"{_PREFIX}{module}.lora_A.weight"] = lazy(active.a)
        tensors[f"{_PREFIX}{module}.lora_B.weight"] = lazy(b)
        ranks[module] = len(active.a)
    if not ranks:
        raise InputError(
            "the subnet keeps no adapter: all its ranks are 0",
            field="format",
            value="peft",
            remedy="ask for format=transformers, or choose a subnet that keeps one",
        )
    for name in supernet.head_tensors:
        tensors[f"{_PREFIX}{name}"] = lazy(supernet.model.get_parameter(name))
    nonzero_params = write_safetensors(tensors, folder / "adapter_model.safetensors")
    config = _config(supernet, ranks, scaling)
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    copy_tokenizer(supernet.base_folder, folder)
    base = {
        name: p
        for name, p in supernet.model.named_parameters()
        if f"{_PREFIX}{name}" not in tensors
    }
    nonzero_params += sum(int(torch.count_nonzero(parameter)) for parameter in base.values())
    write_model_card(folder, supernet, subnet, card, WeightsFormat.PEFT, nonzero_params)


def _commonest_scaling(supernet: Supernet) -> float:
    return Counter(each.scaling for each in supernet.adapters.values()).most_common(1)[0][0]


def _config(supernet: Supernet, ranks: dict[str, int], scaling: float) -> dict[str, object]:
    """A stock adapter config: the largest rank with its alpha, and patterns for smaller ones."""
    rank = max(ranks.values())
    saved = {_saved_module(supernet, name) for name in supernet.head_tensors}
    smaller = {module: r for module, r in ranks.items() if r != rank}
    return {
        "peft_type": "LORA",
        "task_type": supernet.task_head.task_type,
        "base_model_name_or_path": supernet.base_name,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": scaling * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "target_modules": sorted(_targets(supernet, ranks)),
        "modules_to_save": sorted(saved) or None,
        "rank_pattern": smaller,
        "alpha_pattern": {module: scaling * r for module, r in smaller.items()},
    }


def _targets(supernet: Supernet, ranks: Collection[str]) -> Collection[str]:
    """The adapted modules: by the last part of their names where that means no other module.

    Layers are never named by ``layers_to_transform``: an empty list there adapts all of them.
    """
    adapted = set(ranks)
    short = {module.rpartition(".")[2] for module in adapted}
    meant = {name for name, _ in supernet.model.named_modules() if name.rpartition(".")[2] in short}
    return short if meant == adapted else adapted


def _saved_module(supernet: Supernet, tensor: str) -> str:
    """The module of a head tensor as PEFT saves it: a whole classification head, not its parts."""
    for trained in supernet.task_head.trained:
        if tensor.startswith(f"{trained}."):
            return trained
    return tensor.rpartition(".")[0]
