"""Every subnet a dot, the Pareto front a staircase."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.searches import is_cost
from elasticnas.service.plots.canvas import canvas, titled
from elasticnas.service.plots.look import (
    BLUE,
    GREEN,
    GREY,
    VERMILION,
    axis_title,
    is_better_when_less,
    words,
)
from elasticnas.service.plots.refusal import require_front
from elasticnas.service.plots.subject import Measured, Subject

REFERENCES = {"maximal": "s", "heuristic": "D", "minimal": "v"}


def draw_front(subject: Subject) -> Figure:
    """The first metric over the first cost; over the other metric where there is no cost.

    Raises:
        ProblemError: nothing has been measured yet (409).
    """
    require_front(subject)
    x, y = subject.across, subject.metric
    figure, axes = canvas()
    members = {point.number for point in subject.front}
    rest = [point for point in subject.measured if point.number not in members]
    _dots(axes, [p for p in rest if not p.is_given_up], x, y, marker="o", label="evaluated")
    _dots(axes, [p for p in rest if p.is_given_up], x, y, marker="x", label="given up, estimated")
    _staircase(axes, subject.front, x, y)
    _verified(axes, subject.front, x, y)
    _references(axes, {p.number: p for p in [*subject.measured, *subject.front]}.values(), x, y)
    axes.set_xlabel(axis_title(x, subject.max_length))
    if is_cost(x) and x not in (Cost.GFLOPS, Cost.GFLOPS_PER_TOKEN):
        axes.xaxis.set_major_formatter(EngFormatter())
    axes.set_ylabel(words(y))
    shown = f" ({len(rest):,} of the others shown)" if subject.is_thinned else ""
    titled(
        axes,
        subject.title,
        f"{words(y)} over {words(x)}: {subject.evaluated:,} subnets{shown} "
        f"by {subject.request.strategy.name}, hypervolume {subject.hypervolume:.4f}",
    )
    axes.grid(alpha=0.25)
    axes.legend(loc="best", framealpha=0.85, edgecolor="none")
    return figure


def _dots(
    axes: Axes, points: Sequence[Measured], x: str, y: str, *, marker: str, label: str
) -> None:
    if points:
        axes.scatter(
            [point[x] for point in points],
            [point[y] for point in points],
            s=22,
            marker=marker,
            color=GREY,
            alpha=0.55,
            linewidths=0 if marker == "o" else 1.0,
            label=label,
        )


def _staircase(axes: Axes, front: Sequence[Measured], x: str, y: str) -> None:
    """The front's dots, and the best that can be had at each x.

    A third objective puts points on the front that two axes show as beaten: the stairs leave
    them aside.
    """
    ordered = sorted(front, key=lambda point: (point[x], point[y]))
    across = [point[x] for point in ordered]
    up = np.array([point[y] for point in ordered])
    better = np.minimum if is_better_when_less(y) else np.maximum
    if is_better_when_less(x):
        axes.step(across, better.accumulate(up), where="post", color=BLUE, linewidth=1.4)
    else:
        best = better.accumulate(up[::-1])[::-1]
        axes.step(across, best, where="pre", color=BLUE, linewidth=1.4)
    axes.scatter(across, up, s=42, color=BLUE, zorder=3, label=f"Pareto front ({len(front)})")


def _verified(axes: Axes, front: Sequence[Measured], x: str, y: str) -> None:
    """The same subnets on rows that the search never saw."""
    found = [
        (point[x], point.verified.metrics[y])
        for point in front
        if point.verified is not None and y in point.verified.metrics
    ]
    if not found:
        return
    axes.errorbar(
        [across for across, _ in found],
        [interval.value for _, interval in found],
        yerr=[
            [max(0.0, interval.value - interval.low) for _, interval in found],
            [max(0.0, interval.high - interval.value) for _, interval in found],
        ],
        fmt="_",
        markersize=11,
        markeredgewidth=2.0,
        color=GREEN,
        ecolor=GREEN,
        elinewidth=1.2,
        capsize=3,
        alpha=0.85,
        zorder=2.5,
        label="front on unseen rows, 95 % interval",
    )


def _references(axes: Axes, points: Iterable[Measured], x: str, y: str) -> None:
    for point in points:
        if point.origin in REFERENCES:
            axes.scatter(
                [point[x]],
                [point[y]],
                s=110,
                marker=REFERENCES[point.origin],
                facecolors="none",
                edgecolors=VERMILION,
                linewidths=1.6,
                zorder=4,
                label=f"{point.origin} subnet",
            )
