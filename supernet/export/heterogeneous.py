"""What a folder says of a subnet whose layers differ: a stock BERT's config, or one with code.

A subnet of scaled dot products alone, of one width and with as many heads as that takes, is a stock
BERT. Any other carries `carried_code.FILE` and loads with ``trust_remote_code=True``; its config
also has the lists by which FlexiBERT's own config describes a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import BertConfig

from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.export.carried_code import FILE, heterogeneous_code
from elasticnas.supernet.export.description import Description
from elasticnas.supernet.export.lazy_tensors import LazyTensor
from elasticnas.supernet.families.bert import BERT
from elasticnas.supernet.forward.activation import active_blocks
from elasticnas.supernet.operations.architecture import flexibert_lists
from elasticnas.supernet.operations.config import FURTHER, FlexiBertConfig
from elasticnas.supernet.supernet import Supernet


def heterogeneous(
    supernet: Supernet, subnet: SubnetConfig, tensors: Mapping[str, LazyTensor]
) -> Description:
    """The config of a subnet, and its code if no stock class is it; ``tensors`` are its file's."""
    layers = subnet_layers(supernet, subnet, tensors)
    first = layers[0]
    sizes = {
        "num_hidden_layers": len(layers),
        "hidden_size": first["hidden"],
        "num_attention_heads": first["heads"],
        "intermediate_size": first["ffn"],
    }
    told = supernet.config.to_dict()
    kept = {name: told[name] for name in told if name not in (*sizes, "layers", "model_type")}
    if _is_stock(layers):
        stock, stock_class = BertConfig(**kept, **sizes), BERT.classifier().model_class
        return Description(stock, stock_class.__name__, lambda: stock_class(stock))
    config = FlexiBertConfig(**kept, **sizes, layers=layers)
    for name, each in flexibert_lists(layers).items():
        setattr(config, name, each)
    model_class = supernet.task_head.model_class
    class_name, module = model_class.__name__, FILE.removesuffix(".py")
    config.auto_map = {
        "AutoConfig": f"{module}.{type(config).__name__}",
        supernet.task_head.auto_class: f"{module}.{class_name}",
    }
    code = heterogeneous_code()
    return Description(config, class_name, lambda: model_class(config), FILE, code)


def subnet_layers(
    supernet: Supernet, subnet: SubnetConfig, tensors: Mapping[str, LazyTensor]
) -> list[dict[str, Any]]:
    """What each layer of a subnet is made of, as `FlexiBertConfig` says it."""
    path = supernet.family.layers
    return [
        _layer(supernet, subnet, f"{path}.{block}", f"{path}.{place}", tensors, block)
        for place, block in enumerate(active_blocks(supernet, subnet))
    ]


def _layer(
    supernet: Supernet,
    subnet: SubnetConfig,
    full: str,
    own: str,
    tensors: Mapping[str, LazyTensor],
    block: int,
) -> dict[str, Any]:
    spec = supernet.config.layers[block]

    def length(tensor: str, axis: int, absent: int | None) -> int | None:
        found = tensors.get(f"{own}.{tensor}.weight")
        return absent if found is None else found.shape[axis]

    (operation,) = (
        name
        for name in spec["operations"]
        if supernet.plan.has(f"{full}.operations.{name}", subnet)
    )
    channels = length("attention.self.query", 0, spec["heads"] * spec["head_size"])
    assert channels is not None
    return {
        "operations": [operation],
        "hidden": length("output.LayerNorm", 0, None),
        "reads": length("join", 1, None),
        "heads": channels // spec["head_size"],
        "head_size": spec["head_size"],
        "kernel": length("operations.conv.depthwise", 1, spec["kernel"]),
        "ffn": length("intermediate.dense", 0, None),
        **{name: length(f"{name}.dense", 0, 0) for name in FURTHER},
    }


def _is_stock(layers: list[dict[str, Any]]) -> bool:
    first = layers[0]
    return (
        all(layer == first for layer in layers)
        and first["operations"] == ["sdp"]
        and not any(first[name] for name in FURTHER)
        and first["hidden"] == first["heads"] * first["head_size"]
    )
