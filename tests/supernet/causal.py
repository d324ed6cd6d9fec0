"""Small checkpoints of LoNAS, Shears and SQFT on causal language models, with random weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from elasticnas.supernet.contracts.checkpoints import (
    FFN,
    HIDDEN,
    LAYERS,
    RANK,
    write_checkpoint,
)
from elasticnas.supernet.families import FAMILIES
from elasticnas.supernet.families.family import Role

RANKS = [RANK, 2, 1]
ATTENTION = (Role.QUERY, Role.KEY, Role.VALUE)

LLAMA_NODES = {
    "self_attn": "LlamaAttention[self_attn]",
    "mlp": "LlamaMLP[mlp]",
}
LLAMA = (
    "PeftModelForCausalLM/LoraModel[base_model]/LlamaForCausalLM[model]/LlamaModel[model]/"
    "ModuleList[layers]/LlamaDecoderLayer"
)
BLOOM_NODES = {
    "self_attention": "BloomAttention[self_attention]",
    "mlp": "BloomMLP[mlp]",
}
BLOOM = (
    "PeftModelForCausalLM/LoraModel[base_model]/BloomForCausalLM[model]/BloomModel[transformer]/"
    "ModuleList[h]/BloomBlock"
)
A = "ModuleDict[lora_A]/NNCFLinear[default]/linear_0"
B = "ModuleDict[lora_B]/NNCFLinear[default]/linear_0"
OWN = "NNCFUserSelfLinear[self_linear]/linear_0"


def node(layer: object, role: Role, part: str, model_type: str = "llama") -> str:
    """The name that NNCF gives a part of an adapted linear layer."""
    block, _, linear = FAMILIES[model_type].linears[role].partition(".")
    prefix, classes = (LLAMA, LLAMA_NODES) if model_type == "llama" else (BLOOM, BLOOM_NODES)
    return f"{prefix}[{layer}]/{classes[block]}/Linear[{linear}]/{part}"


def causal(folder: Path, model_type: str = "llama") -> Path:
    """A checkpoint with an adapter on every linear layer of every block, and no search space."""
    write_checkpoint(folder, FAMILIES[model_type])
    (folder / "search_space.json").unlink()
    return folder


def nncf(
    groups: Sequence[Sequence[str]], widths: Sequence[Sequence[int]], section: str = "bootstrapNAS"
) -> dict[str, Any]:
    """An NNCF config of these groups."""
    width = {"overwrite_groups": groups, "overwrite_groups_widths": widths}
    elasticity = {"available_elasticity_dims": ["width"], "width": width}
    return {
        "input_info": [{"sample_size": [1, 32], "type": "long", "keyword": "input_ids"}],
        section: {"training": {"elasticity": elasticity}},
    }


def lonas(folder: Path, model_type: str = "llama") -> Path:
    """LoNAS: in each block a rank of attention, FFN neurons, and a rank of the first FFN layers."""
    linears = FAMILIES[model_type].linears
    attention = [role for role in (*ATTENTION, Role.QKV) if role in linears]
    ffn = [role for role in (Role.FFN_GATE, Role.FFN_IN) if role in linears]
    layers = range(LAYERS)
    groups = [
        *([node(layer, r, A, model_type) for r in attention] for layer in layers),
        *([node(layer, r, p, model_type) for r in ffn for p in (OWN, B)] for layer in layers),
        *([node(layer, r, A, model_type) for r in ffn] for layer in layers),
    ]
    neurons = FFN if model_type == "llama" else 4 * HIDDEN
    widths = [RANKS] * LAYERS + [[neurons, 24, 7]] * LAYERS + [RANKS] * LAYERS
    return with_json(causal(folder, model_type), "nncf_config.json", nncf(groups, widths))


TEMPLATES = (ATTENTION, (Role.FFN_IN,), (Role.FFN_OUT,))
"""Shears' groups of a layer, where gate has an adapter that stays whole."""


def template(groups: Sequence[Sequence[Role]] = TEMPLATES) -> dict[str, Any]:
    """Shears' config, for all layers at once."""
    names = [["{re}" + node("{*}", role, A) for role in group] for group in groups]
    return nncf(names, [RANKS] * len(groups))


def shears(folder: Path, groups: Sequence[Sequence[Role]] = TEMPLATES) -> Path:
    """Shears: ranks alone, as a template, on a sparse base."""
    return with_json(sparse(causal(folder)), "nncf_config.json", template(groups))


def targets(layer: int, roles: Sequence[Role]) -> list[str]:
    """The names of adapters in SQFT's file."""
    modules = FAMILIES["llama"].modules(layer, roles)
    return [f"base_model.model.{module}.lora_A" for module in modules]


def sqft(folder: Path, *, shared: bool = True, masked: bool = False) -> Path:
    """SQFT: ranks of q, k, v, up and down, one a layer or one a module, on a sparse base."""
    roles = (*ATTENTION, Role.FFN_IN, Role.FFN_OUT)
    groups = [
        {"target": targets(layer, members), "search_space": RANKS}
        for layer in range(LAYERS)
        for members in ([roles] if shared else [(role,) for role in roles])
    ]
    sparse(causal(folder))
    with_adapter_options(folder, {"sparse_adapter": masked, "quantization_aware": False})
    return with_json(folder, "adapter/elastic_adapter_config.json", groups)


def sqft_of_old(folder: Path) -> Path:
    """SQFT's first version: an NNCF config with a section of its own."""
    groups = [[node(layer, role, A) for role in ATTENTION] for layer in range(LAYERS)]
    content = nncf(groups, [RANKS] * LAYERS, "SQFT")
    return with_json(sparse(causal(folder)), "adapter/nncf_config.json", content)


def sparse(folder: Path) -> Path:
    """Half of the base's linear layers becomes zero."""
    file = folder / "base" / "model.safetensors"
    torch.manual_seed(0)
    tensors = {
        name: tensor * (torch.rand_like(tensor) > 0.5) if "proj.weight" in name else tensor
        for name, tensor in load_file(file).items()
    }
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


def extracted(folder: Path, rank: int) -> Path:
    """The adapters cut to one rank, as the extractors do it: the config stays as it is."""
    file = folder / "adapter" / "adapter_model.safetensors"
    pickle = file.with_suffix(".bin")
    tensors = load_file(file) if file.is_file() else torch.load(pickle, weights_only=True)
    cut = {
        name: (tensor[:rank] if ".lora_A." in name else tensor[:, :rank]).clone()
        for name, tensor in tensors.items()
    }
    file.unlink(missing_ok=True)
    torch.save(cut, pickle)
    return folder


def with_adapter_options(folder: Path, options: Mapping[str, Any]) -> Path:
    """Other options in ``adapter_config.json``."""
    file = folder / "adapter" / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | options))
    return folder


def with_json(folder: Path, name: str, content: object) -> Path:
    """A JSON file in the checkpoint."""
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text)
    return folder
