"""Which dimensions decided the metric."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from elasticnas.service.plots.canvas import canvas, titled
from elasticnas.service.plots.look import COLOURS, OTHER, words
from elasticnas.service.plots.shares import shares_of
from elasticnas.service.plots.subject import Subject

MOST_BARS = 24


def draw_importance(subject: Subject) -> Figure:
    """A bar for each dimension, the most important on top.

    Raises:
        ProblemError: too few subnets have been measured yet, or all measure the same (409).
    """
    shares = shares_of(subject)
    colours = {d.name: COLOURS.get(d.part, OTHER) for d in subject.space.dimensions}
    shown = list(shares.items())[:MOST_BARS]
    figure, axes = canvas(height=1.8 + 0.24 * len(shown))
    percent = [100 * share for _, share in shown]
    bars = axes.barh(
        [name for name, _ in shown], percent, color=[colours[name][0] for name, _ in shown]
    )
    axes.bar_label(bars, [f"{value:.1f}" for value in percent], padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.08, y=0.01)
    axes.set_xlabel(f"importance for being among the best tenth by {words(subject.metric)} (%)")
    which = f"the first {len(shown)} of {len(shares)}" if len(shares) > len(shown) else "all"
    titled(
        axes,
        subject.title,
        f"Importance of {which} dimensions for {words(subject.metric)}: PED-ANOVA on "
        f"{len(subject.measured):,} subnets",
    )
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    there = {colours[name] for name, _ in shown}
    axes.legend(
        handles=[Patch(color=colour, label=label) for colour, label in sorted(there)],
        frameon=False,
        loc="lower right",
    )
    return figure
