"""The ``peft`` format: a stock LoRA adapter for the unmodified base model.

Only ranks may differ from the super-network's: a stock adapter cannot make a base layer narrower.
PEFT computes alpha / r for the active rank r, while the super-network trained with
alpha / maximal rank throughout, so each module whose rank was cut gets an ``alpha_pattern`` entry
that restores its scaling.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import torch
from safetensors.torch import save_file

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import RANK
from elasticnas.api_schemas.weights import SubnetCard, WeightsFormat
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.tokenizer import copy_tokenizer
from elasticnas.supernet.export.model_card import write_model_card
from elasticnas.supernet.plan import LORA_A, LORA_B, Join
from elasticnas.supernet.supernet import Supernet

_PREFIX = "base_model.model."


def write_peft_adapter(
    supernet: Supernet, subnet: SubnetConfig, card: SubnetCard, folder: Path
) -> None:
    """Write ``adapter_config.json``, ``adapter_model.safetensors``, tokenizer and model card.

    Raises:
        InputError: the super-network has no adapter or masked ones, or the subnet cuts more than
            ranks.
    """
    if not supernet.adapters:
        raise InputError(
            "the super-network has no LoRA adapter to export",
            field="format",
            value="peft",
            remedy="ask for format=transformers",
        )
    if any(adapter.join is Join.MASKED for adapter in supernet.adapters.values()):
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
    plan = supernet.plan
    tensors: dict[str, torch.Tensor] = {}
    ranks: dict[str, int] = {}
    for module, adapter in supernet.adapters.items():
        a = plan.slice(f"{module}.{LORA_A}", adapter.a, subnet)
        b = plan.slice(f"{module}.{LORA_B}", adapter.b, subnet)
        tensors[f"{_PREFIX}{module}.lora_A.weight"] = a.clone().contiguous()
        tensors[f"{_PREFIX}{module}.lora_B.weight"] = b.clone().contiguous()
        ranks[module] = a.shape[0]
    for name in supernet.head_tensors:
        tensor = supernet.model.get_parameter(name)
        tensors[f"{_PREFIX}{name}"] = tensor.detach().clone().contiguous()
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = _config(supernet, ranks)
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    copy_tokenizer(supernet.folder / "base", folder)
    loaded = {f"{_PREFIX}{name}": p for name, p in supernet.model.named_parameters()} | tensors
    write_model_card(folder, supernet, subnet, card, WeightsFormat.PEFT, loaded.values())


def _config(supernet: Supernet, ranks: dict[str, int]) -> dict[str, object]:
    """A stock adapter config: the commonest rank and alpha, and a pattern for every other."""
    alphas = {module: supernet.adapters[module].scaling * rank for module, rank in ranks.items()}
    rank = Counter(ranks.values()).most_common(1)[0][0]
    alpha = Counter(alphas.values()).most_common(1)[0][0]
    saved = {_saved_module(supernet, name) for name in supernet.head_tensors}
    return {
        "peft_type": "LORA",
        "task_type": supernet.task_head.task_type,
        "base_model_name_or_path": supernet.base_name,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "target_modules": sorted(ranks),
        "modules_to_save": sorted(saved) or None,
        "rank_pattern": {module: r for module, r in ranks.items() if r != rank},
        "alpha_pattern": {module: a for module, a in alphas.items() if a != alpha},
    }


def _saved_module(supernet: Supernet, tensor: str) -> str:
    """The module of a head tensor as PEFT saves it: a whole classification head, not its parts."""
    for trained in supernet.task_head.trained:
        if tensor.startswith(f"{trained}."):
            return trained
    return tensor.rpartition(".")[0]
