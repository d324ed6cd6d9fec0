"""The terms that the cost of any subnet of a super-network is a sum of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch

from elasticnas.api_schemas.costs import Axis, CostModel, Count, Table, Term
from elasticnas.api_schemas.spaces import Condition
from elasticnas.search import cost_terms
from elasticnas.search.cost_terms import Extent
from elasticnas.supernet.checkpoint.mapping import looked_at
from elasticnas.supernet.families.family import HeadKind, Role
from elasticnas.supernet.plan import LORA_A, LORA_B
from elasticnas.supernet.supernet import Supernet


def cost_model(supernet: Supernet) -> CostModel:
    """Read the terms off the model and the slicing plan.

    Every parameter of the model is accounted for exactly once: in a linear layer, or by itself
    (LayerNorms, embeddings). A weight that two layers share is the linear layer's.
    """
    layers = (*range(supernet.num_layers), None)
    return cost_terms.cost_model(
        term.model_copy(update={"layer": layer})
        for layer in layers
        for term in layer_terms(supernet, layer)
    )


def layer_terms(supernet: Supernet, layer: int | None) -> list[Term]:
    """What one block costs, or with None all that belongs to none."""
    family = supernet.family
    linears = _linear_modules(supernet, layer)
    names = (f"{module}.{part}" for module in linears for part in ("weight", "bias"))
    counted = {id(supernet.tensors.get(name)) for name in names}
    terms = [term for module in linears for term in _linear(supernet, module, layer)]
    if layer is not None:
        terms += _operations(supernet, layer) if family.operations else _attention(supernet, layer)
    for name, parameter in supernet.model.named_parameters():
        # A counted one may have another name: a head may share its weight with the embeddings.
        if id(parameter) not in counted and family.layer_of(name) == layer:
            for when in ways(supernet, name):
                shape = _shape(supernet, name, when)
                terms.append(cost_terms.parameter(*shape, when=when))
            terms += _bytes(supernet, name)
    return terms


def _operations(supernet: Supernet, layer: int) -> list[Term]:
    """What each operation that a layer may have spends beside linear layers."""
    family, prefix = supernet.family, f"{supernet.family.layers}.{layer}"
    terms = []
    for name, operation in family.operations.items():
        module = f"{prefix}.operations.{name}"
        if not supernet.has_module(module):
            continue
        norm, kernel = f"{prefix}.output.LayerNorm.weight", f"{module}.depthwise.weight"
        query = f"{family.module(layer, Role.QUERY)}.weight"
        for when in ways(supernet, module):
            lengths = {"hidden": _extent(supernet, norm, 0, when)}
            if operation.projects:
                head_size = supernet.config.layers[layer]["head_size"]
                lengths["channels"] = _extent(supernet, query, 0, when)
                lengths["head"] = Extent(full=head_size)
            if operation.has_kernel:
                lengths["kernel"] = _extent(supernet, kernel, 1, when)
            terms += [
                cost_terms.mixing(
                    each.coefficient,
                    *(lengths[length] for length in each.lengths),
                    tokens=each.power,
                    when=when,
                )
                for each in operation.mixing
            ]
    return terms


def _attention(supernet: Supernet, layer: int) -> list[Term]:
    """A block's products, and the keys and values that a language model keeps to go on."""
    family = supernet.family
    output = f"{family.module(layer, Role.ATTENTION_OUTPUT)}.weight"
    when = _when(supernet, output)
    width = _extent(supernet, output, 1)
    terms = [cost_terms.attention(width, when=when)]
    if supernet.task_head.kind is HeadKind.CAUSAL_LM:
        # Every key-value head serves a group of as many query heads as any other.
        heads = int(getattr(supernet.config, family.heads))
        group = heads // family.num_kv_heads(supernet.config)
        kept = replace(width, full=width.full // group, unit=width.unit // group)
        bytes_each = supernet.stored_dtype(output).itemsize
        terms.append(cost_terms.keys_and_values(kept, bytes_each=bytes_each, when=when))
    return terms


def _when(supernet: Supernet, name: str) -> tuple[Condition, ...]:
    """Under which conditions a tensor's block is there; what belongs to none always is."""
    layer, half = supernet.family.layer_of(name), supernet.family.half_of(name)
    presences = (each for each in supernet.plan.presences if each.layer == layer)
    return tuple({each.when: None for each in presences if half in (None, each.half)})


def ways(supernet: Supernet, name: str) -> list[tuple[Condition, ...]]:
    """Under which conditions, one set at a time, a module or tensor is there, and cut as it is."""
    block = _when(supernet, name)
    return [tuple(dict.fromkeys((*block, *way))) for way in supernet.plan.ways(name)]


def _linear_modules(supernet: Supernet, layer: int | None) -> list[str]:
    """The linear modules of a layer: the weights with two axes that are not embeddings."""
    return [
        name
        for name, module in supernet.model.named_modules()
        if isinstance(module, torch.nn.Linear) and supernet.family.layer_of(name) == layer
    ]


def _linear(supernet: Supernet, module: str, layer: int | None) -> list[Term]:
    head = supernet.task_head
    has_bias, is_adapted = f"{module}.bias" in supernet.tensors, module in supernet.adapters
    terms = []
    for when in ways(supernet, f"{module}.weight"):
        terms += cost_terms.linear(
            _extent(supernet, f"{module}.weight", 0, when),
            _extent(supernet, f"{module}.weight", 1, when),
            bias=has_bias,
            tokens="one" if module in head.one_token else "every",
            counts_as=Count.HEAD if layer is None else Count.LINEAR,
            rank=_extent(supernet, f"{module}.{LORA_A}", 0) if is_adapted else None,
            is_trainable=any(
                module == name or module.startswith(f"{name}.") for name in head.trained
            ),
            when=when,
        )
        for part in ("weight", *((LORA_A, LORA_B) if is_adapted else ())):
            if (zeros := _zeros(supernet, f"{module}.{part}", when)) is not None:
                terms.append(cost_terms.absent(zeros, when=when))
    held = ("weight", "bias") if has_bias else ("weight",)
    terms += [term for part in held for term in _bytes(supernet, f"{module}.{part}")]
    return terms + (_adapter_bytes(supernet, module) if is_adapted else [])


def _adapter_bytes(supernet: Supernet, module: str) -> list[Term]:
    """What the tensors of a module's adapter take."""
    return [
        cost_terms.adapter_bytes(
            *_shape(supernet, tensor, when),
            bytes_each=supernet.stored_dtype(tensor).itemsize,
            when=when,
        )
        for when in ways(supernet, f"{module}.weight")
        for tensor in (f"{module}.{LORA_A}", f"{module}.{LORA_B}")
    ]


def _bytes(supernet: Supernet, tensor: str) -> list[Term]:
    """What a tensor of the exported subnet takes, adapters merged."""
    bytes_each = supernet.stored_dtype(tensor).itemsize
    return [
        cost_terms.weight_bytes(*_shape(supernet, tensor, when), bytes_each=bytes_each, when=when)
        for when in ways(supernet, tensor)
    ]


def _shape(supernet: Supernet, tensor: str, when: Sequence[Condition]) -> list[Extent]:
    axes = range(supernet.tensors[tensor].ndim)
    return [_extent(supernet, tensor, axis, when) for axis in axes]


def _extent(supernet: Supernet, tensor: str, axis: int, when: Sequence[Condition] = ()) -> Extent:
    full = supernet.tensors[tensor].shape[axis]
    cut = supernet.plan.cut_under(tensor, axis, when)
    if cut is None:
        return Extent(full=full)
    return Extent(full=full, dimension=cut.dimension, unit=cut.unit)


def _zeros(supernet: Supernet, tensor: str, when: Sequence[Condition]) -> Table | None:
    """Zeros in every prefix block of a matrix that a subnet can take; None for a dense one."""
    rows, columns = (_lengths(supernet, tensor, axis, when) for axis in (0, 1))
    with looked_at(supernet.tensors[tensor]) as matrix:
        zeros = zeros_in_prefixes(matrix, rows, columns)
    if (refits := supernet.refits.get(tensor)) is not None:  # of which no row is ever cut
        fitted = {width: int((each == 0).sum()) for width, each in refits.items()}
        zeros = tuple(fitted.get(width, found) for width, found in zip(columns, zeros, strict=True))
    if not any(zeros):
        return None
    found = (supernet.plan.cut_under(tensor, axis, when) for axis in (0, 1))
    cuts = [cut for cut in found if cut is not None]
    dimensions = {each.name: each.choices for each in supernet.space.dimensions}
    return Table(
        axes=tuple(
            Axis(dimension=cut.dimension, choices=dimensions[cut.dimension]) for cut in cuts
        ),
        values=zeros,
    )


def zeros_in_prefixes(
    matrix: torch.Tensor, rows: Sequence[int], columns: Sequence[int]
) -> tuple[int, ...]:
    """The zeros of ``matrix[:r, :c]`` for every r of ``rows`` and c of ``columns``, c fastest.

    Each entry is read once and none is copied: a matrix may be mapped from a file.
    """
    bounds = [sorted({0, *lengths}) for lengths in (rows, columns)]
    tiles = [
        [
            int((tile := matrix[top:bottom, left:right]).numel() - torch.count_nonzero(tile))
            for left, right in pairwise(bounds[1])
        ]
        for top, bottom in pairwise(bounds[0])
    ]
    sums = np.pad(np.array(tiles, dtype=np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    places = [{length: place for place, length in enumerate(each)} for each in bounds]
    return tuple(int(sums[places[0][r], places[1][c]]) for r in rows for c in columns)


def _lengths(supernet: Supernet, tensor: str, axis: int, when: Sequence[Condition]) -> list[int]:
    """Every length that an axis can have."""
    cut = supernet.plan.cut_under(tensor, axis, when)
    if cut is None:
        return [supernet.tensors[tensor].shape[axis]]
    dimension = next(d for d in supernet.space.dimensions if d.name == cut.dimension)
    return [cut.unit * choice for choice in dimension.amounts or ()]
