"""A LLaMA of any size, random, made a shard at a time, and a LoRA adapter with elastic ranks."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

from elasticnas.supernet.contracts.checkpoints import write_tokenizer
from elasticnas.supernet.families.family import Role
from elasticnas.supernet.families.llama import LLAMA

TINY_LLAMA: dict[str, int] = {
    "hidden_size": 2048,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "intermediate_size": 5632,
    "vocab_size": 32_000,
    "max_position_embeddings": 2048,
}
"""TinyLlama-1.1B (Zhang et al. 2024): 1.1 billion weights, 2.2 GB in bfloat16."""

RANKS = (16, 8, 4)
ADAPTED = (Role.QUERY, Role.VALUE)


def write_large_checkpoint(
    folder: Path, sizes: dict[str, int], dtype: torch.dtype = torch.bfloat16
) -> Path:
    """``base/`` in one shard a block, ``adapter/`` on queries and values, a rank for each block.

    ``sizes`` are fields of the config. No more than a shard is in memory at once.
    """
    fields: dict[str, Any] = sizes | {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    config = LlamaConfig(**fields)
    config.architectures = [LlamaForCausalLM.__name__]
    config.dtype = dtype
    config.save_pretrained(folder / "base")
    write_tokenizer(folder / "base")
    with torch.device("meta"):
        shapes = {n: t.shape for n, t in LlamaForCausalLM(config).state_dict().items()}
    torch.manual_seed(0)
    _write_base(folder / "base", shapes, dtype)
    _write_adapter(folder / "adapter", shapes, sizes["num_hidden_layers"])
    dimensions = [
        {"name": f"rank of {layer}", "part": "rank", "layer": layer, "choices": RANKS}
        for layer in range(sizes["num_hidden_layers"])
    ]
    space = json.dumps({"version": 2, "dimensions": dimensions})
    (folder / "search_space.json").write_text(space, encoding="utf-8")
    return folder


def _write_base(folder: Path, shapes: dict[str, torch.Size], dtype: torch.dtype) -> None:
    shards: dict[str, list[str]] = defaultdict(list)
    for name in shapes:
        layer = LLAMA.layer_of(name)
        shards[name if layer is None else f"block {layer}"].append(name)
    weight_map: dict[str, str] = {}
    for number, names in enumerate(shards.values(), 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        tensors = {name: _random(shapes[name], dtype) for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    index = json.dumps({"metadata": {}, "weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(index, encoding="utf-8")


def _random(shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    """Norms are ones, as at a model's birth; other weights are as small as theirs."""
    tensor = torch.empty(shape, dtype=dtype)
    return tensor.fill_(1) if tensor.ndim == 1 else tensor.normal_(std=0.02)


def _write_adapter(folder: Path, shapes: dict[str, torch.Size], layers: int) -> None:
    folder.mkdir()
    tensors = {}
    for module in (LLAMA.module(layer, role) for layer in range(layers) for role in ADAPTED):
        outputs, inputs = shapes[f"{module}.weight"]
        name = f"base_model.model.{module}"
        tensors[f"{name}.lora_A.weight"] = 0.02 * torch.randn(RANKS[0], inputs)
        tensors[f"{name}.lora_B.weight"] = 0.02 * torch.randn(outputs, RANKS[0])
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANKS[0],
        "lora_alpha": 2.0 * RANKS[0],
        "target_modules": [LLAMA.linears[role] for role in ADAPTED],
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
