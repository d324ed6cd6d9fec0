"""The hypervolume as results came in."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from elasticnas.service.plots.canvas import canvas, titled
from elasticnas.service.plots.look import BLUE, VERMILION
from elasticnas.service.plots.refusal import require_front
from elasticnas.service.plots.subject import Subject

REFERENCES = 3
"""The maximal, the minimal and the heuristic subnet come first."""


def draw_history(subject: Subject) -> Figure:
    """The hypervolume of the front after each result, and when its present members came.

    Raises:
        ProblemError: nothing has been measured yet (409).
    """
    require_front(subject)
    # The front's members are never thinned out, so the last gain is there.
    points = {p.number: p for p in [*subject.measured, *subject.front]}.values()
    ordered = sorted(points, key=lambda point: point.sequence)
    figure, axes = canvas(height=5.0)
    axes.step(
        [point.sequence for point in ordered],
        [point.hypervolume for point in ordered],
        where="post",
        color=BLUE,
        linewidth=1.8,
        label="hypervolume of the front",
    )
    members = sorted(subject.front, key=lambda point: point.sequence)
    axes.scatter(
        [point.sequence for point in members],
        [point.hypervolume for point in members],
        s=34,
        color=VERMILION,
        zorder=3,
        label=f"a subnet of today's front is found ({len(members)})",
    )
    _begin_after_references(axes, [point.hypervolume for point in ordered])
    axes.set_xlabel("evaluations recorded")
    axes.set_ylabel("hypervolume (share of the box, 0 to 1)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    titled(
        axes,
        subject.title,
        f"Hypervolume over evaluations: {subject.hypervolume:.4f} after {subject.evaluated:,} "
        f"by {subject.request.strategy.name}",
    )
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right")
    return figure


def _begin_after_references(axes: Axes, hypervolumes: Sequence[float]) -> None:
    """The first three subnets make most of the hypervolume: what follows would look flat."""
    low, high = hypervolumes[min(REFERENCES, len(hypervolumes) - 1)], hypervolumes[-1]
    if high > low:
        margin = 0.08 * (high - low)
        axes.set_ylim(low - margin, high + margin)
