"""A small super-network whose layers have every operation, with weights that tell them apart."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import torch

from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.contracts.checkpoints import write_tokenizer
from elasticnas.supernet.formats.space_file import SPACE_FILE
from elasticnas.supernet.operations import OPERATIONS
from elasticnas.supernet.operations.config import FlexiBertConfig
from elasticnas.supernet.operations.default_space import heterogeneous_space
from elasticnas.supernet.operations.model import FlexiBertForSequenceClassification
from elasticnas.supernet.supernet import Supernet

SIZES: dict[str, Any] = {
    "vocab_size": 32,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 80,
    "pad_token_id": 0,
}


def small_model(**layer: Any) -> FlexiBertForSequenceClassification:
    """Three layers with every operation, unless ``layer`` says otherwise of all of them."""
    torch.manual_seed(0)
    specs = [
        {
            "operations": list(OPERATIONS),
            "middle": 20,
            "third": 20,
            "reads": 24 if place else None,
            **layer,
        }
        for place in range(3)
    ]
    model = FlexiBertForSequenceClassification(FlexiBertConfig(**SIZES, layers=specs))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    model.train(False).requires_grad_(False)
    return model


def write_heterogeneous(folder: Path, *, one_hidden: bool = False) -> Path:
    """A checkpoint of such a model with the default space over it."""
    model = small_model(**({"reads": None} if one_hidden else {}))
    model.save_pretrained(folder / "base")
    write_tokenizer(folder / "base")
    space = heterogeneous_space(model.config.layers, one_hidden=one_hidden)
    text = space.model_dump_json(exclude_defaults=True)
    (folder / SPACE_FILE).write_text(text, encoding="utf-8")
    return folder


def with_operation(supernet: Supernet, operation: str) -> SubnetConfig:
    """The maximal subnet but for its operation, the same in all layers."""
    return supernet.space.subnet(
        {each.name: operation for each in supernet.space.dimensions if each.part == "operation"}
    )


def drawn(supernet: Supernet, count: int) -> list[SubnetConfig]:
    """The maximal and the minimal subnet, and random ones."""
    rng, space = random.Random(0), supernet.space
    return [
        space.maximal,
        space.minimal,
        *(space.decode([rng.randrange(n) for n in space.cardinalities]) for _ in range(count)),
    ]
