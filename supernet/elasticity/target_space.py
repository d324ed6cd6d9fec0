"""EFTNAS's search space: in every layer the widths of all targets, and what a target skips.

Munoz et al. 2024, "EFTNAS", section 3.1. A target of which hardly anything of a layer's attention
or FFN is left skips that half of the layer.
"""

from __future__ import annotations

from collections.abc import Sequence

from elasticnas.api_schemas.spaces import BLOCKS, HALVES, Condition, Half
from elasticnas.supernet.elasticity.axes import axes_of
from elasticnas.supernet.elasticity.derived_space import DROPPED
from elasticnas.supernet.elasticity.target_costs import TargetWidths, choices_of
from elasticnas.supernet.formats.halves import names_of
from elasticnas.supernet.formats.space_file import ElasticDimension, SpaceFile
from elasticnas.supernet.plan import ModelShape

Skipped = frozenset[tuple[int, Half]]
"""Halves of layers that are left out together."""


def target_space(shape: ModelShape, targets: Sequence[TargetWidths], tokens: int) -> SpaceFile:
    """The space of what was found for ``targets``, its subnets priced at so many ``tokens``.

    Of a family whose blocks run whole only, a half that a target skips is a choice where the target
    skips the other half, too; or else that target says nothing of it.
    """
    skipped = _skipped(shape, targets)
    units = axes_of(shape)
    choices = choices_of(targets, units)
    dimensions = [
        ElasticDimension(
            name=axis.dimension,
            part=axis.part,
            layer=axis.layer,
            choices=choices[axis],
            active_when=_runs((axis.layer, axis.half), skipped),
        )
        for axis in units
    ]
    if len(skipped) > 1:
        names = tuple(names_of(each) for each in skipped)
        dimensions.append(ElasticDimension(name=DROPPED, part=BLOCKS, choices=names))
    return SpaceFile(version=2, dimensions=tuple(dimensions), reference_length=tokens)


def _skipped(shape: ModelShape, targets: Sequence[TargetWidths]) -> list[Skipped]:
    """Nothing, and what each target skips, the least first."""
    found: set[Skipped] = {frozenset()}
    for target in targets:
        halves = frozenset((axis.layer, axis.half) for axis in target.skipped)
        if not shape.family.halves:
            halves = frozenset(
                (layer, half)
                for layer, half in halves
                if all((layer, other) in halves for other in HALVES)
            )
        found.add(halves)
    return sorted(found, key=lambda halves: (len(halves), sorted(halves)))


def _runs(half: tuple[int, Half], skipped: Sequence[Skipped]) -> tuple[Condition, ...]:
    """Where half a layer runs: a condition, if there is a choice without it."""
    runs = tuple(names_of(each) for each in skipped if half not in each)
    return () if len(runs) == len(skipped) else (Condition(dimension=DROPPED, choices=runs),)
