"""The terms that the cost of any subnet of a super-network is a sum of."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from elasticnas.api_schemas.costs import Axis, CostModel, Count, Table, Term
from elasticnas.api_schemas.spaces import Condition
from elasticnas.search import cost_terms
from elasticnas.search.cost_terms import Extent
from elasticnas.supernet.families.family import Role
from elasticnas.supernet.plan import LORA_A
from elasticnas.supernet.supernet import Supernet


def cost_model(supernet: Supernet) -> CostModel:
    """Read the terms off the model and the slicing plan.

    Every parameter of the model is accounted for exactly once: in a linear layer, or by itself
    (LayerNorms, embeddings).
    """
    layers = (*range(supernet.num_layers), None)
    return cost_terms.cost_model(term for each in layers for term in layer_terms(supernet, each))


def layer_terms(supernet: Supernet, layer: int | None) -> list[Term]:
    """What one encoder layer costs, or with None all that belongs to none."""
    family, when = supernet.family, _when(supernet, layer)
    linears = _linear_modules(supernet, layer)
    names = (f"{module}.{part}" for module in linears for part in ("weight", "bias"))
    counted = {id(supernet.tensors.get(name)) for name in names}
    terms = [term for module in linears for term in _linear(supernet, module, layer)]
    if layer is not None:
        module = family.module(layer, Role.ATTENTION_OUTPUT)
        width = _extent(supernet, f"{module}.weight", 1)
        terms.append(cost_terms.attention(width, when=when))
    for name, parameter in supernet.model.named_parameters():
        # A counted one may have another name: a head may share its weight with the embeddings.
        if id(parameter) not in counted and family.layer_of(name) == layer:
            terms.append(cost_terms.parameters(parameter.numel(), when=when))
    return terms


def _when(supernet: Supernet, layer: int | None) -> Sequence[Condition]:
    """Under which conditions a layer runs; what belongs to none always does."""
    return tuple({each.when: None for each in supernet.plan.presences if each.layer == layer})


def _linear_modules(supernet: Supernet, layer: int | None) -> list[str]:
    """The linear modules of a layer: the weights with two axes that are not embeddings."""
    return [
        name
        for name, module in supernet.model.named_modules()
        if isinstance(module, torch.nn.Linear) and supernet.family.layer_of(name) == layer
    ]


def _linear(supernet: Supernet, module: str, layer: int | None) -> list[Term]:
    head = supernet.task_head
    return cost_terms.linear(
        _extent(supernet, f"{module}.weight", 0),
        _extent(supernet, f"{module}.weight", 1),
        bias=f"{module}.bias" in supernet.tensors,
        tokens="one" if module in head.one_token else "every",
        counts_as=Count.HEAD if layer is None else Count.LINEAR,
        rank=_extent(supernet, f"{module}.{LORA_A}", 0) if module in supernet.adapters else None,
        is_trainable=any(module == name or module.startswith(f"{name}.") for name in head.trained),
        zeros=_zeros(supernet, f"{module}.weight"),
        when=_when(supernet, layer),
    )


def _extent(supernet: Supernet, tensor: str, axis: int) -> Extent:
    full = supernet.tensors[tensor].shape[axis]
    cut = supernet.plan.along(tensor, axis)
    if cut is None:
        return Extent(full=full)
    return Extent(full=full, dimension=cut.dimension, unit=cut.unit)


def _zeros(supernet: Supernet, tensor: str) -> Table | None:
    """Zeros in every prefix block of a weight that a subnet can take; None for a dense weight."""
    zero = supernet.tensors[tensor] == 0
    if not bool(zero.any()):
        return None
    counts = zero.long().cumsum(0).cumsum(1)
    rows, columns = (_lengths(supernet, tensor, axis) for axis in (0, 1))
    cuts = [cut for axis in (0, 1) if (cut := supernet.plan.along(tensor, axis)) is not None]
    dimensions = {each.name: each.choices for each in supernet.space.dimensions}
    return Table(
        axes=tuple(
            Axis(dimension=cut.dimension, choices=dimensions[cut.dimension]) for cut in cuts
        ),
        values=tuple(int(counts[r - 1, c - 1]) for r in rows for c in columns),
    )


def _lengths(supernet: Supernet, tensor: str, axis: int) -> list[int]:
    """Every length that an axis can have."""
    cut = supernet.plan.along(tensor, axis)
    if cut is None:
        return [supernet.tensors[tensor].shape[axis]]
    dimension = next(d for d in supernet.space.dimensions if d.name == cut.dimension)
    return [cut.unit * choice for choice in dimension.amounts or ()]
