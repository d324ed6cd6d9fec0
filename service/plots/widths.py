"""How wide the front's subnets are, layer by layer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from elasticnas.api_schemas.spaces import FFN, HEADS, Presence
from elasticnas.search.space import SearchSpace
from elasticnas.service.plots.canvas import canvas, titled
from elasticnas.service.plots.refusal import nothing_to_draw
from elasticnas.service.plots.subject import Subject

_HALVES = {HEADS: "attention", FFN: "ffn"}
MOST_NUMBERED = 24
"""Layers beyond which a cell has no room for its number."""


def draw_widths(subject: Subject) -> Figure:
    """A row for each elastic part, a column for each layer, the mean share of the largest choice.

    Raises:
        ProblemError: nothing has been measured yet, or no dimension belongs to a layer (409).
    """
    if not subject.front:
        raise nothing_to_draw("no subnet has been measured yet")
    parts, shares = width_shares(
        subject.space, subject.presences, [point.choices for point in subject.front]
    )
    if not parts:
        raise nothing_to_draw("no dimension of this search belongs to a layer")
    layers = shares.shape[1]
    figure, axes = canvas(height=2.4 + 0.55 * len(parts))
    image = axes.imshow(100 * shares, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    axes.set_yticks(range(len(parts)), parts)
    step = 1 if layers <= MOST_NUMBERED else 4
    axes.set_xticks(range(0, layers, step), [str(i) for i in range(0, layers, step)])
    axes.set_xlabel("layer (0 is next to the embeddings)")
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(layers + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(parts) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    if layers <= MOST_NUMBERED:
        for (row, column), share in np.ndenumerate(shares):
            if not np.isnan(share):
                axes.text(
                    column,
                    row,
                    f"{100 * share:.0f}",
                    ha="center",
                    va="center",
                    fontsize=9 if layers <= 12 else 7,
                    color="white" if share < 0.6 else "black",
                )
    bar = figure.colorbar(image, ax=axes, pad=0.02)
    bar.set_label("% of the largest choice")
    bar.outline.set_visible(False)
    titled(
        axes,
        subject.title,
        f"Chosen widths by layer: mean over the {len(subject.front)} subnets of the front",
    )
    return figure


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
