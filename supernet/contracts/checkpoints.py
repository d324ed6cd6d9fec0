"""Small checkpoints of any family, made on the spot with random weights."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from elasticnas.search.space import SearchSpace, SubnetConfig
from elasticnas.supernet.families.family import Family, Role

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD_SIZE, FFN, RANK, VOCABULARY = 3, 24, 4, 2, 8, 40, 4, 32


def tiny_config(family: Family, **options: Any) -> PretrainedConfig:
    """A config of three narrow blocks; a family with key-value heads has two for four heads.

    An option of None is left to the family's default.
    """
    sizes = {
        family.hidden_size: HIDDEN,
        family.heads: HEADS,
        family.depth: LAYERS,
        **({family.ffn_width: FFN} if family.ffn_width else {}),
        **({family.kv_heads: KV_HEADS} if family.kv_heads else {}),
        **({family.head_dim: HEAD_SIZE} if family.head_dim else {}),
    }
    common = {"vocab_size": VOCABULARY, "max_position_embeddings": 64, "pad_token_id": 0}
    said = {**common, **sizes, **options}
    return family.config_class(**{name: each for name, each in said.items() if each is not None})


def tiny_model(family: Family, **options: Any) -> PreTrainedModel:
    """A model with the family's first head, and weights large enough to tell subnets apart."""
    torch.manual_seed(0)
    model: PreTrainedModel = family.task_heads[0].model_class(tiny_config(family, **options))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8) if parameter.ndim == 2 else parameter.add_(
                0.1 * torch.randn_like(parameter)
            )
    model.train(False)
    return model


def write_checkpoint(folder: Path, family: Family, *, adapted: bool = True, **options: Any) -> Path:
    """A checkpoint whose heads, FFN neurons, blocks and, if ``adapted``, ranks are elastic."""
    model = tiny_model(family, **options)
    model.save_pretrained(folder / "base")
    write_tokenizer(folder / "base")
    if adapted:
        _write_adapter(folder / "adapter", family, model)
    dimensions = _dimensions(family, model.config, adapted=adapted)
    space = {"version": 2, "dimensions": dimensions}
    (folder / "search_space.json").write_text(json.dumps(space), encoding="utf-8")
    return folder


def some_subnets(space: SearchSpace, count: int = 6) -> list[SubnetConfig]:
    """The named subnets, and so many random ones."""
    rng = random.Random(0)
    drawn = [space.decode([rng.randrange(c) for c in space.cardinalities]) for _ in range(count)]
    return [space.maximal, space.minimal, space.heuristic, *drawn]


def _dimensions(
    family: Family, config: PretrainedConfig, *, adapted: bool
) -> list[dict[str, object]]:
    heads = list(range(family.num_kv_heads(config), 0, -1))
    elastic = {
        **({"heads": heads} if family.has_elastic_heads else {}),
        "ffn": [family.ffn_size(config), 24, 7],
        **({"rank": [RANK, 2, 1]} if adapted else {}),
    }
    # A layer of each kind, and two halves that are a layer where both have the same weights.
    halves: list[list[object]] = [["0.attention"], ["0.ffn", "1.attention"], [1, "0.ffn"]]
    left_out = [[], [1], [0], *(halves if family.halves else [])]
    return [
        *(
            {"name": f"{part} of layer {layer}", "part": part, "layer": layer, "choices": choices}
            for layer in range(LAYERS)
            for part, choices in elastic.items()
        ),
        {"name": "depth", "part": "blocks", "choices": [LAYERS, 2]},
        {"name": "left out", "part": "blocks", "ordered": False, "choices": left_out},
    ]


def _write_adapter(folder: Path, family: Family, model: PreTrainedModel) -> None:
    tensors = {}
    for layer in range(LAYERS):
        for module in family.modules(layer, list(Role)):
            outputs, inputs = model.get_parameter(f"{module}.weight").shape
            tensors[f"base_model.model.{module}.lora_A.weight"] = torch.randn(RANK, inputs) * 0.3
            tensors[f"base_model.model.{module}.lora_B.weight"] = torch.randn(outputs, RANK) * 0.3
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": family.task_heads[0].task_type,
        "r": RANK,
        "lora_alpha": 2.0 * RANK,
        "target_modules": list(family.linears.values()),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")


def write_tokenizer(folder: Path) -> None:
    """Words cut at spaces, [CLS] before a text and [SEP] behind it.

    Some embeddings are left for tokens that a family's own tokenizer class adds.
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(f"w{index}" for index in range(len(special), VOCABULARY - 8))]
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
