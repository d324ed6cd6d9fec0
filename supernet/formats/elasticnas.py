"""Our own format: ``base/``, ``adapter/`` if there is one, and ``search_space.json``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import (
    BLOCKS,
    FFN,
    HEADS,
    RANK,
    Presence,
    leading,
    skipping_halves,
)
from elasticnas.search.space import SearchSpace
from elasticnas.supernet.families.family import Role
from elasticnas.supernet.formats.format import Format
from elasticnas.supernet.formats.halves import halves_named
from elasticnas.supernet.formats.space_file import (
    DIMENSIONS_FIELD,
    SPACE_FILE,
    ElasticDimension,
    ModuleCuts,
    SpaceFile,
    read_space,
)
from elasticnas.supernet.operations.layout import heterogeneous_plan
from elasticnas.supernet.plan import Cut, ElasticPart, ModelShape, Side, SlicingPlan


def elastic_part(content: SpaceFile, shape: ModelShape) -> ElasticPart:
    """The space and the plan that a space file comes to on a model of this shape.

    Raises:
        InputError: a dimension that does not fit the model.
    """
    space = SearchSpace(tuple(each.dimension for each in content.dimensions))
    presences: list[Presence] = []
    for dimension in content.dimensions:
        if dimension.part == BLOCKS:
            presences += _presences(dimension, shape.num_layers)
    if shape.family.operations:
        _refuse_cuts(content)
        plan = replace(heterogeneous_plan(space, shape), presences=tuple(presences))
    else:
        cuts = (_cuts(each, shape) for each in content.dimensions if each.part != BLOCKS)
        plan = SlicingPlan(tuple(cut for each in cuts for cut in each), tuple(presences))
    return ElasticPart(space, plan, content.reference_length)


def _refuse_cuts(content: SpaceFile) -> None:
    for each in content.dimensions:
        if each.cuts or each.roles:
            raise InputError(
                "of a model whose layers differ, part and layer say what a dimension cuts",
                field=f"{DIMENSIONS_FIELD}/{each.name}/{'cuts' if each.cuts else 'roles'}",
                remedy="take it out",
            )


def _read(folder: Path, shape: ModelShape) -> ElasticPart:
    return elastic_part(read_space(folder / SPACE_FILE), shape)


ELASTICNAS = Format("elasticnas", (SPACE_FILE,), _read)


def _presences(dimension: ElasticDimension, layers: int) -> tuple[Presence, ...]:
    """Numbers keep the first so many layers; lists name what is left out."""
    if dimension.choices[0] == layers and dimension.amounts is not None:
        return leading(dimension, layers)
    skipped = [
        halves_named(choice, layers) if isinstance(choice, tuple) else None
        for choice in dimension.choices
    ]
    told = [halves for halves in skipped if halves is not None]
    if len(told) < len(skipped) or told[0]:
        raise InputError(
            "choices are how many of the first layers are kept, of which the largest depth must be "
            f"the model's {layers} layers, and the others descend; or lists of the layers to leave "
            f"out, by numbers from 0 to {layers - 1}, of which the first must be empty",
            field=dimension.name,
            value=list(dimension.choices),
            remedy=f"choices such as {[layers, layers - 1]}, or {[[], [layers - 1], [0]]}; half a "
            'layer is called "0.attention" or "0.ffn"',
        )
    return skipping_halves(dimension, told)


def _cuts(dimension: ElasticDimension, shape: ModelShape) -> list[Cut]:
    field = f"{DIMENSIONS_FIELD}/{dimension.name}"
    if dimension.amounts is None:
        raise InputError(
            "what is cut is cut to a number: choices must be whole numbers that descend",
            field=f"{field}/choices",
            value=list(dimension.choices),
        )
    layer = dimension.layer
    if layer is not None and layer >= shape.num_layers:
        raise InputError(f"the model has {shape.num_layers} layers", field=field, value=layer)
    if dimension.cuts:
        cuts = [cut for each in dimension.cuts for cut in _told(dimension, each, shape)]
        _check_widths(dimension, cuts, shape)
        return cuts
    if layer is None or dimension.part not in (HEADS, FFN, RANK):
        raise InputError(
            "neither cuts nor part and layer say what the dimension cuts",
            field=field,
            value=dimension.part,
            remedy=f"list its cuts, or give it a layer and one of the parts {HEADS}, {FFN}, {RANK}",
        )
    if dimension.part == HEADS:
        return shape.head_cuts(dimension.name, layer)
    if dimension.part == FFN:
        return shape.ffn_cuts(dimension.name, layer)
    modules = shape.adapted_in(layer, dimension.roles or tuple(Role))
    return [cut for module in modules for cut in shape.cuts(dimension.name, module, Side.RANK)]


def _told(dimension: ElasticDimension, told: ModuleCuts, shape: ModelShape) -> list[Cut]:
    """The cuts that a file lists: of modules that the model has."""
    for module in told.modules:
        if shape.family.role_of(module) is None or f"{module}.weight" not in shape.shapes:
            raise InputError(
                "the model's blocks have no linear layer of this name",
                field=f"{DIMENSIONS_FIELD}/{dimension.name}/cuts",
                value=module,
            )
    return [
        cut
        for module in told.modules
        for cut in shape.cuts(dimension.name, module, told.side, told.unit)
    ]


def _check_widths(dimension: ElasticDimension, cuts: list[Cut], shape: ModelShape) -> None:
    """Heads and neurons are cut with all that writes and all that reads them, or not at all."""
    ranks = {cut for m in shape.adapted for cut in shape.cuts(dimension.name, m, Side.RANK)}
    widths, whole = set(cuts) - ranks, set[Cut]()
    ways = [shape.ffn_cuts, *([shape.head_cuts] if shape.family.has_elastic_heads else [])]
    for layer in range(shape.num_layers):
        for way in ways:
            group = set(way(dimension.name, layer))
            whole |= group if group & widths else set()
    if odd := sorted(widths ^ whole, key=lambda cut: (cut.tensor, cut.axis)):
        raise InputError(
            "heads or neurons are not cut alike in all layers that write and read them",
            field=f"{DIMENSIONS_FIELD}/{dimension.name}/cuts",
            value=f"{odd[0].tensor}, axis {odd[0].axis}, unit {odd[0].unit}",
            remedy="cut the rows of query, key and value (or of the first FFN layers) with the "
            "columns of the layer that reads them, by the channels of a head (or by 1)",
        )
