"""Shares that pictures show: of dimensions in what was measured, of widths in the front."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.spaces import FFN, HEADS, Presence
from elasticnas.search.importance import FEWEST, dimension_importance
from elasticnas.search.space import SearchSpace
from elasticnas.service.plots.look import words
from elasticnas.service.plots.refusal import nothing_to_draw, require_front
from elasticnas.service.plots.subject import Subject
from elasticnas.tasks import METRICS

_HALVES = {HEADS: "attention", FFN: "ffn"}


def shares_of(subject: Subject) -> dict[str, float]:
    """How much each dimension decides, as a share of the whole, the most important first.

    Raises:
        ProblemError: too few subnets have been measured yet, or all measure the same (409).
    """
    if len(subject.measured) < FEWEST:
        raise nothing_to_draw(
            f"importance takes {FEWEST} measured subnets, there are {len(subject.measured)}"
        )
    name = subject.metric
    shares = dimension_importance(
        subject.space,
        [point.choices for point in subject.measured],
        [-METRICS[name].loss(point[name]) for point in subject.measured],
    )
    if not any(shares.values()):
        raise nothing_to_draw(f"all subnets, or nearly all, have the same {words(name)}")
    return shares


def widths_of(subject: Subject) -> tuple[list[str], NDArray[np.float64]]:
    """The `width_shares` of a search's front.

    Raises:
        ProblemError: nothing has been measured yet, or no dimension belongs to a layer (409).
    """
    require_front(subject)
    choices = [point.choices for point in subject.front]
    parts, shares = width_shares(subject.space, subject.presences, choices)
    if not parts:
        raise nothing_to_draw("no dimension of this search belongs to a layer")
    return parts, shares


def width_shares(
    space: SearchSpace, presences: Sequence[Presence], front: Sequence[Sequence[int]]
) -> tuple[list[str], NDArray[np.float64]]:
    """The elastic parts of a layer, and each one's mean share of its largest choice.

    ``front`` are encoded subnets. The shares have shape (parts, layers); a part that a layer does
    not have is NaN. What a subnet leaves out does not count in its part's row, but in the rows of
    what is kept, which are there when the space has ``presences``.
    """
    sized = [
        (column, dimension.layer, dimension.part, amounts)
        for column, dimension in enumerate(space.dimensions)
        if dimension.layer is not None and (amounts := dimension.amounts) is not None
    ]
    if not sized:
        return [], np.empty((0, 0))
    layers = 1 + max([*(layer for _, layer, _, _ in sized), *(each.layer for each in presences)])
    kept = _kept(space, presences, front, layers)
    encoded = np.array(front, dtype=np.intp)
    active = space.activity.of(encoded)
    chosen: dict[tuple[str, int], list[NDArray[np.float64]]] = defaultdict(list)
    for column, layer, part, amounts in sized:
        share = np.array(amounts, dtype=float) / amounts[0]
        runs = kept[_HALVES[part]] if part in _HALVES else np.any([*kept.values()], axis=0)
        counted = runs[:, layer] & active[:, column]
        chosen[part, layer].append(share[encoded[counted, column]])
    parts = list(dict.fromkeys(part for part, _ in chosen))
    shares = np.full((len(parts), layers), np.nan)
    for (part, layer), found in chosen.items():
        if (together := np.concatenate(found)).size:
            shares[parts.index(part), layer] = together.mean()
    rows = {f"{half} kept": runs.mean(axis=0) for half, runs in kept.items()}
    if np.array_equal(kept["attention"], kept["ffn"]):
        rows = {"kept": rows["attention kept"]}
    if not presences:
        return parts, shares
    return [*rows, *parts], np.vstack([*rows.values(), shares])


def _kept(
    space: SearchSpace, presences: Sequence[Presence], front: Sequence[Sequence[int]], layers: int
) -> dict[str, NDArray[np.bool_]]:
    """Which layers' attention and FFN run in each subnet: two of shape (subnets, layers)."""
    kept = {half: np.ones((len(front), layers), dtype=bool) for half in ("attention", "ffn")}
    subnets = [space.decode(encoded) for encoded in front]
    for each in presences:
        kept[each.half][:, each.layer] &= [subnet.meets([each.when]) for subnet in subnets]
    return kept
