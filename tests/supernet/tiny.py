"""Small real checkpoints of every architecture, made on the spot with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from elasticnas.supernet.families import FAMILIES

WORDS = [
    *("the", "a", "film", "plot", "actor", "scene", "story", "music", "is", "was", "and", "but"),
    *("not", "very", "good", "bad", "dull", "bright", "slow", "funny", "sad", "great"),
]

LAYERS, HIDDEN, HEADS, FFN, RANK = 3, 24, 4, 40, 4


def write_tokenizer(folder: Path) -> None:
    """A word-level tokenizer with BERT's special tokens and pair template."""
    vocabulary = {
        token: index
        for index, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(folder)


def tiny_model(
    model_type: str, labels: int = 2, seed: int = 0, layers: int = LAYERS
) -> PreTrainedModel:
    """A sequence classifier with weights large enough to tell subnets apart."""
    torch.manual_seed(seed)
    vocab = 5 + len(WORDS)
    if model_type == "distilbert":
        model: PreTrainedModel = DistilBertForSequenceClassification(
            DistilBertConfig(
                vocab_size=vocab,
                dim=HIDDEN,
                n_layers=layers,
                n_heads=HEADS,
                hidden_dim=FFN,
                max_position_embeddings=64,
                num_labels=labels,
                pad_token_id=0,
            )
        )
    else:
        config_class, model_class = {
            "bert": (BertConfig, BertForSequenceClassification),
            "roberta": (RobertaConfig, RobertaForSequenceClassification),
        }[model_type]
        model = model_class(
            config_class(
                vocab_size=vocab,
                hidden_size=HIDDEN,
                num_hidden_layers=layers,
                num_attention_heads=HEADS,
                intermediate_size=FFN,
                max_position_embeddings=64,
                num_labels=labels,
                pad_token_id=0,
                bos_token_id=2,
                eos_token_id=3,
            )
        )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    return model.eval()


def dimensions(
    *, ranks: bool = True, depth: bool = False, layers: int = LAYERS
) -> list[dict[str, Any]]:
    """Heads, FFN width and rank of every layer, and depth if asked for."""
    found: list[dict[str, Any]] = []
    for layer in range(layers):
        found.append(
            {"name": f"layer.{layer}.attention.heads", "kind": "heads", "choices": [4, 3, 1]}
        )
        found.append({"name": f"layer.{layer}.ffn.width", "kind": "width", "choices": [40, 24, 7]})
        if ranks:
            found.append({"name": f"layer.{layer}.lora.rank", "kind": "rank", "choices": [4, 2, 1]})
    if depth:
        found.append({"name": "depth", "kind": "depth", "choices": [layers, 2, 1]})
    return found


def write_checkpoint(
    folder: Path,
    model_type: str = "bert",
    *,
    labels: int = 2,
    adapted: tuple[str, ...] = ("query", "value"),
    depth: bool = False,
    seed: int = 0,
    layers: int = LAYERS,
) -> Path:
    """A checkpoint in our own layout; ``adapted`` are the roles that get a random adapter."""
    model = tiny_model(model_type, labels, seed, layers)
    model.save_pretrained(folder / "base")
    write_tokenizer(folder / "base")
    if adapted:
        write_adapter(folder / "adapter", model_type, model, adapted)
    space = {"dimensions": dimensions(ranks=bool(adapted), depth=depth, layers=layers)}
    (folder / "search_space.json").write_text(json.dumps(space))
    return folder


OUT: list[list[object]] = [[], ["1.attention"], ["2.ffn"], ["2.attention"], [0, "1.ffn"]]
"""The layers and halves of layers that `with_halves` may leave out."""


def with_halves(folder: Path, model_type: str = "bert") -> Path:
    """A checkpoint whose layers may lose a half, and layer 1 some of its heads."""
    write_checkpoint(folder, model_type, adapted=())
    out = {"name": "out", "part": "blocks", "ordered": False, "choices": OUT}
    heads = {"name": "heads", "part": "heads", "layer": 1, "choices": [4, 2]}
    space = {"version": 2, "dimensions": [out, heads]}
    (folder / "search_space.json").write_text(json.dumps(space))
    return folder


def write_adapter(
    folder: Path, model_type: str, model: PreTrainedModel, adapted: tuple[str, ...]
) -> None:
    """A PEFT adapter with random A and B, and the model's own head in the file."""
    family = FAMILIES[model_type]
    tensors = {}
    for layer in range(model.config.num_hidden_layers):
        for role in adapted:
            module = family.module(layer, role)
            outputs, inputs = model.get_parameter(f"{module}.weight").shape
            tensors[f"base_model.model.{module}.lora_A.weight"] = torch.randn(RANK, inputs) * 0.3
            tensors[f"base_model.model.{module}.lora_B.weight"] = torch.randn(outputs, RANK) * 0.3
    for name, parameter in model.named_parameters():
        if name.startswith(tuple(f"{module}." for module in family.task_heads[0].trained)):
            tensors[f"base_model.model.{name}"] = parameter.detach().clone()
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "SEQ_CLS",
        "r": RANK,
        "lora_alpha": 2.0 * RANK,
        "bias": "none",
        "target_modules": [family.linears[role] for role in adapted],
        "modules_to_save": list(family.task_heads[0].trained),
        "base_model_name_or_path": "tiny",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))


def sentences(count: int, seed: int = 0) -> list[str]:
    """Random sentences of 1 to 20 known words."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        length = int(torch.randint(1, 21, (1,), generator=generator))
        picks = torch.randint(len(WORDS), (length,), generator=generator).tolist()
        found.append(" ".join(WORDS[pick] for pick in picks))
    return found
