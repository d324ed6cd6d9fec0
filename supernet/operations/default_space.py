"""The search space over a heterogeneous super-network where the user brings none.

FlexiBERT's hyperparameters (Tuli et al. 2022, table 1) on a pretrained model of fixed head size:
operation, kernel, heads, hidden size, feed-forward width and depth, layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from elasticnas.api_schemas.spaces import (
    BLOCKS,
    FFN,
    FFN_LAYERS,
    HEADS,
    HIDDEN,
    KERNEL,
    OPERATION,
    Condition,
)
from elasticnas.supernet.formats.space_file import ElasticDimension, SpaceFile
from elasticnas.supernet.operations import OPERATIONS
from elasticnas.supernet.operations.config import FURTHER


def heterogeneous_space(
    specs: Sequence[dict[str, Any]], *, one_hidden: bool, depths: Sequence[int] | None = None
) -> SpaceFile:
    """Heads and hidden size at 1, 3/4 and 1/2, FFN widths at 1, 1/2 and 1/4, kernels of 9 and 5.

    ``specs`` say what the model's layers are made of (`config.FlexiBertConfig`).
    With ``one_hidden`` all layers have one hidden size: every change of it costs a projection.
    ``depths`` are how many of the first layers may be kept: by default all, and all but the last
    third and half.
    """
    layers = len(specs)
    depths = depths or sorted({layers, layers - layers // 3, layers - layers // 2}, reverse=True)
    depth = ElasticDimension(name="depth", part=BLOCKS, choices=tuple(depths))
    dimensions = [depth] if len(depths) > 1 else []
    if one_hidden:
        choices = _shares(specs[0]["hidden"], (4, 3, 2))
        dimensions.append(ElasticDimension(name="hidden", part=HIDDEN, choices=choices))
    for place, layer in enumerate(specs):
        kept = tuple(count for count in depths if count > place)
        there: tuple[Condition, ...] = ()
        if len(kept) < len(depths):
            there = (Condition(dimension=depth.name, choices=kept),)
        dimensions += _of_layer(place, layer, there, one_hidden=one_hidden)
    return SpaceFile(version=2, dimensions=tuple(dimensions))


def _of_layer(
    place: int, layer: dict[str, Any], there: tuple[Condition, ...], *, one_hidden: bool
) -> Iterator[ElasticDimension]:
    def named(
        what: str, part: str, choices: Sequence[Any], *also: Condition, ordered: bool = True
    ) -> ElasticDimension:
        return ElasticDimension(
            name=f"layer.{place}.{what}",
            part=part,
            layer=place,
            choices=tuple(choices),
            ordered=ordered,
            active_when=(*there, *also),
        )

    operations = layer["operations"]
    if len(operations) > 1:
        yield named("operation", OPERATION, operations, ordered=False)
    if "conv" in operations:
        of_operation = {"conv"}
        yield named(
            "kernel", KERNEL, (9, 5), *_where(f"layer.{place}.operation", operations, of_operation)
        )
    if not one_hidden:
        yield named("hidden", HIDDEN, _shares(layer["hidden"], (4, 3, 2)))
    projecting = {name for name in operations if OPERATIONS[name].projects}
    yield named(
        "attention.heads",
        HEADS,
        _shares(layer["heads"], (4, 3, 2)),
        *_where(f"layer.{place}.operation", operations, projecting),
    )
    widths = _shares(layer["ffn"], (4, 2, 1))
    yield named("ffn.width", FFN, widths)
    # The narrowest is left a single layer, so that the minimal subnet is the cheapest.
    if narrow := {width for width in widths[:-1] if width <= layer["middle"]}:
        narrowed = _where(f"layer.{place}.ffn.width", widths, narrow)
        most = 1 + sum(1 for name in FURTHER if layer[name])
        yield named("ffn.layers", FFN_LAYERS, range(1, 1 + most), *narrowed, ordered=False)


def _where(name: str, choices: Sequence[Any], wanted: set[Any]) -> tuple[Condition, ...]:
    """The condition that a dimension takes one of the ``wanted`` choices; none where it must."""
    found = tuple(choice for choice in choices if choice in wanted)
    if len(found) == len(choices):
        return ()
    return (Condition(dimension=name, choices=found),)


def _shares(full: int, parts: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted({max(1, full * share // 4) for share in parts}, reverse=True))
