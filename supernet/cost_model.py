"""The shapes that the cost of any subnet of a super-network depends on."""

from __future__ import annotations

import torch

from elasticnas.api_schemas.costs import AttentionShape, CostModel, Extent, LinearShape
from elasticnas.supernet.families.family import Role
from elasticnas.supernet.plan import LORA_A
from elasticnas.supernet.supernet import Supernet


def cost_model(supernet: Supernet) -> CostModel:
    """Read the shapes off the model and the slicing plan.

    Every parameter of the model is accounted for exactly once: in a linear layer, in a layer's
    other parameters (LayerNorms), or in the constant rest (embeddings).
    """
    family = supernet.family
    parameters = dict(supernet.model.named_parameters())
    linears = [_linear(supernet, module) for module in _linear_modules(supernet)]
    counted = {
        id(supernet.tensors.get(f"{shape.name}.{part}"))
        for shape in linears
        for part in ("weight", "bias")
    }
    layer_params = [0] * supernet.num_layers
    constant = 0
    for name, parameter in parameters.items():
        if id(parameter) in counted:  # perhaps under another name: a head may share embeddings
            continue
        layer = family.layer_of(name)
        if layer is not None:
            layer_params[layer] += parameter.numel()
        else:
            constant += parameter.numel()
    return CostModel(
        linears=tuple(linears),
        attentions=tuple(
            AttentionShape(
                layer=layer,
                width=_extent(supernet, f"{family.module(layer, Role.ATTENTION_OUTPUT)}.weight", 1),
            )
            for layer in range(supernet.num_layers)
        ),
        layer_params=tuple(layer_params),
        constant_params=constant,
        depth=supernet.plan.depth,
    )


def _linear_modules(supernet: Supernet) -> list[str]:
    """Every linear module: the weights with two axes that are not embeddings."""
    return [
        name
        for name, module in supernet.model.named_modules()
        if isinstance(module, torch.nn.Linear)
    ]


def _linear(supernet: Supernet, module: str) -> LinearShape:
    layer = supernet.family.layer_of(module)
    head = supernet.task_head
    return LinearShape(
        name=module,
        rows=_extent(supernet, f"{module}.weight", 0),
        columns=_extent(supernet, f"{module}.weight", 1),
        bias=f"{module}.bias" in supernet.tensors,
        tokens="one" if module in head.one_token else "sequence",
        layer=layer,
        rank=_extent(supernet, f"{module}.{LORA_A}", 0) if module in supernet.adapters else None,
        trainable=any(module == name or module.startswith(f"{name}.") for name in head.trained),
        zeros=_zeros(supernet, f"{module}.weight"),
    )


def _extent(supernet: Supernet, tensor: str, axis: int) -> Extent:
    full = supernet.tensors[tensor].shape[axis]
    cut = supernet.plan.along(tensor, axis)
    if cut is None:
        return Extent(full=full)
    return Extent(full=full, dimension=cut.dimension, unit=cut.unit)


def _zeros(supernet: Supernet, tensor: str) -> dict[int, dict[int, int]] | None:
    """Zeros in every prefix block of a weight that a subnet can take; None for a dense weight."""
    zero = supernet.tensors[tensor] == 0
    if not bool(zero.any()):
        return None
    counts = zero.long().cumsum(0).cumsum(1)
    return {
        rows: {
            columns: int(counts[rows - 1, columns - 1]) for columns in _lengths(supernet, tensor, 1)
        }
        for rows in _lengths(supernet, tensor, 0)
    }


def _lengths(supernet: Supernet, tensor: str, axis: int) -> list[int]:
    """Every length that an axis can have."""
    cut = supernet.plan.along(tensor, axis)
    if cut is None:
        return [supernet.tensors[tensor].shape[axis]]
    dimension = next(d for d in supernet.space.dimensions if d.name == cut.dimension)
    return [cut.unit * choice for choice in dimension.amounts or ()]
