"""The search space that is laid over a model whose units are in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from fractions import Fraction

import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import BLOCKS, HALVES, Condition, Half, SubnetChoices
from elasticnas.supernet.elasticity.axes import (
    Axis,
    Scores,
    Widths,
    axes_of,
    fixed_macs,
    unit_macs,
)
from elasticnas.supernet.elasticity.target_costs import (
    Bisection,
    TargetWidths,
    choices_of,
    linear_cost,
    ranked_widths,
)
from elasticnas.supernet.families.family import TaskHead
from elasticnas.supernet.formats.space_file import ElasticDimension, SpaceFile
from elasticnas.supernet.plan import ModelShape

DROPPED = "blocks"
"""The dimension of whole blocks that are left out."""

TOLERANCE = 0.01
"""How near a cost must come to its target, as a share of the full cost."""


def widths_for(
    shape: ModelShape, head: TaskHead, scores: Scores, targets: Sequence[float], tokens: int
) -> list[TargetWidths]:
    """The widths that one threshold gives for ``targets``, shares of the full cost.

    The threshold is on scores per multiply-accumulate at so many ``tokens``: of two units that
    matter alike the dearer one goes first.
    """
    search = search_for(shape, head, scores, tokens)
    return [search.find(target) for target in targets]


def search_for(shape: ModelShape, head: TaskHead, scores: Scores, tokens: int) -> Bisection:
    """The search of `widths_for`, for one target at a time."""
    each = unit_macs(shape, tokens)
    return Bisection(
        ranked_widths({axis: score / each[axis] for axis, score in scores.items()}),
        cost_shares(shape, head, tokens),
        axes_of(shape),
        TOLERANCE,
        (0.0, 1.0),
    )


def cost_shares(shape: ModelShape, head: TaskHead, tokens: int) -> Callable[[Widths], float]:
    """What widths cost at so many ``tokens``, as a share of the full cost."""
    cost = linear_cost(unit_macs(shape, tokens), fixed_macs(shape, head, tokens))
    full = cost(axes_of(shape))
    return lambda widths: cost(widths) / full


def derived_space(
    shape: ModelShape,
    *,
    widths: Sequence[TargetWidths] = (),
    shares: Sequence[float] = (),
    blocks_out: Sequence[int] = (),
    halves_out: Collection[tuple[int, Half]] = (),
    tokens: int,
) -> SpaceFile:
    """Widths of every axis, and what may be left out: of ``blocks_out`` the first, or more.

    Or any of ``halves_out``, for each of which there is a dimension. An axis has its full width,
    its ``shares`` of it, and those of ``widths``; of what is left out they make no difference.
    Subnets are priced at so many ``tokens``.
    """
    units = axes_of(shape)
    choices = choices_of(widths, units) if widths else {a: (full,) for a, full in units.items()}
    dropped = [tuple(sorted(blocks_out[:count])) for count in range(len(blocks_out) + 1)]
    dimensions = [
        ElasticDimension(
            name=axis.dimension,
            part=axis.part,
            layer=axis.layer,
            choices=_with_shares(choices[axis], units[axis], shares),
            active_when=_runs(axis, dropped, halves_out),
        )
        for axis in units
    ]
    if blocks_out:
        dimensions.append(ElasticDimension(name=DROPPED, part=BLOCKS, choices=tuple(dropped)))
    dimensions += [
        ElasticDimension(
            name=_dimension(layer, half),
            part=BLOCKS,
            layer=layer,
            choices=((), (f"{layer}.{half}",)),
            ordered=False,
        )
        for layer, half in sorted(halves_out)
    ]
    return SpaceFile(version=2, dimensions=tuple(dimensions), reference_length=tokens)


def without_half(layer: int, half: Half) -> SubnetChoices:
    """The choice that leaves out half a layer, of a space that has it."""
    return {_dimension(layer, half): (f"{layer}.{half}",)}


def least_influential_blocks(influence: torch.Tensor, count: int | None) -> list[int]:
    """The blocks that may be left out, first the one that changes least; by default a quarter.

    ``influence`` has shape (blocks,).

    Raises:
        InputError: no block would be left.
    """
    return _least(influence, count, field="dropped_blocks", name="blocks")


def least_influential_halves(influence: torch.Tensor, count: int | None) -> list[tuple[int, Half]]:
    """As `least_influential_blocks`, of halves of blocks: ``influence`` (blocks, `HALVES`) is any
    measure of what changes where one is left out.

    Raises:
        InputError: no half would be left.
    """
    found = _least(influence.flatten(), count, field="dropped_halves", name="halves of blocks")
    return [(place // len(HALVES), HALVES[place % len(HALVES)]) for place in found]


def _least(influence: torch.Tensor, count: int | None, *, field: str, name: str) -> list[int]:
    most = len(influence) - 1
    count = len(influence) // 4 if count is None else count
    if count > most:
        raise InputError(
            f"the model has {len(influence)} {name}, and one must be kept",
            field=field,
            value=count,
            remedy=f"leave out at most {most}",
        )
    return torch.argsort(influence, stable=True)[:count].tolist()


def _with_shares(choices: Sequence[int], full: int, shares: Sequence[float]) -> tuple[int, ...]:
    """The choices and the shares of the full width, whole units, the largest first."""
    # Of 0.6 a user means 3/5, not the double next to it.
    more = {max(1, int(full * Fraction(str(share)))) for share in shares}
    return tuple(sorted({*choices, *more}, reverse=True))


def _dimension(layer: int, half: Half) -> str:
    """The name of the dimension that leaves out half a layer."""
    return f"layer.{layer}.{half}"


def _runs(
    axis: Axis, dropped: Sequence[tuple[int, ...]], halves_out: Collection[tuple[int, Half]]
) -> tuple[Condition, ...]:
    """Where the half that an axis lies in runs: conditions, if there are choices without it."""
    runs = tuple(choice for choice in dropped if axis.layer not in choice)
    found = []
    if len(runs) < len(dropped):
        found.append(Condition(dimension=DROPPED, choices=runs))
    if (axis.layer, axis.half) in halves_out:
        found.append(Condition(dimension=_dimension(axis.layer, axis.half), choices=((),)))
    return tuple(found)
