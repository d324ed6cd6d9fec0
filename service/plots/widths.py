"""How wide the front's subnets are, layer by layer."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from elasticnas.service.plots.canvas import canvas, titled
from elasticnas.service.plots.shares import widths_of
from elasticnas.service.plots.subject import Subject

MOST_NUMBERED = 24
"""Layers beyond which a cell has no room for its number."""


def draw_widths(subject: Subject) -> Figure:
    """A row for each elastic part, a column for each layer, the mean share of the largest choice.

    Raises:
        ProblemError: nothing has been measured yet, or no dimension belongs to a layer (409).
    """
    parts, shares = widths_of(subject)
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
