"""The search space that is laid over a model whose units are in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import BLOCKS, Condition
from elasticnas.supernet.elasticity.axes import (
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
    left_out: Sequence[int] = (),
    tokens: int,
) -> SpaceFile:
    """Widths of every axis, and blocks that may be left out: the first of ``left_out`` or more.

    An axis has its full width, its ``shares`` of it, and those of ``widths``. Those of a block that
    is left out make no difference. Subnets are priced at so many ``tokens``.
    """
    units = axes_of(shape)
    choices = choices_of(widths, units) if widths else {a: (full,) for a, full in units.items()}
    dropped = [tuple(sorted(left_out[:count])) for count in range(len(left_out) + 1)]
    dimensions = [
        ElasticDimension(
            name=axis.dimension,
            part=axis.part,
            layer=axis.layer,
            choices=_with_shares(choices[axis], units[axis], shares),
            active_when=_runs(axis.layer, dropped),
        )
        for axis in units
    ]
    if left_out:
        dimensions.append(ElasticDimension(name=DROPPED, part=BLOCKS, choices=tuple(dropped)))
    return SpaceFile(version=2, dimensions=tuple(dimensions), reference_length=tokens)


def least_influential(influence: torch.Tensor, count: int | None) -> list[int]:
    """The blocks that may be left out, first the one that changes least; by default a quarter.

    Raises:
        InputError: no block would be left.
    """
    blocks = len(influence)
    count = blocks // 4 if count is None else count
    if count >= blocks:
        raise InputError(
            f"the model has {blocks} blocks, and one must be kept",
            field="dropped_blocks",
            value=count,
            remedy=f"leave out at most {blocks - 1}",
        )
    return torch.argsort(influence, stable=True)[:count].tolist()


def _with_shares(choices: Sequence[int], full: int, shares: Sequence[float]) -> tuple[int, ...]:
    """The choices and the shares of the full width, whole units, the largest first."""
    # Of 0.6 a user means 3/5, not the double next to it.
    more = {max(1, int(full * Fraction(str(share)))) for share in shares}
    return tuple(sorted({*choices, *more}, reverse=True))


def _runs(layer: int, dropped: Sequence[tuple[int, ...]]) -> tuple[Condition, ...]:
    """Where a layer's block runs: a condition, if there is a choice without it."""
    runs = tuple(choice for choice in dropped if layer not in choice)
    return () if len(runs) == len(dropped) else (Condition(dimension=DROPPED, choices=runs),)
