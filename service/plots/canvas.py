"""The figure that a picture is drawn on, and how it becomes a file's bytes."""

from __future__ import annotations

import io

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from elasticnas.api_schemas.plots import PictureFormat

# SVG's identifiers are random unless salted, and an ETag promises the same bytes.
mpl.rcParams["svg.hashsalt"] = "elasticnas"


def canvas(height: float = 6.0) -> tuple[Figure, Axes]:
    """An empty figure of its own, apart from pyplot, whose state threads would share."""
    figure = Figure(figsize=(9, height), dpi=140, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def titled(axes: Axes, title: str, subtitle: str) -> None:
    """What the picture shows, and below it of what."""
    axes.set_title(f"{_short(title)}\n", loc="left", fontsize=12, fontweight="bold")
    axes.text(0.0, 1.015, subtitle, transform=axes.transAxes, fontsize=10, color="#444444")


def written(figure: Figure, picture_format: PictureFormat) -> bytes:
    """The figure as a file's content; the same figure gives the same bytes."""
    target = io.BytesIO()
    dated = {"Date": None} if picture_format is PictureFormat.SVG else None
    figure.savefig(target, format=picture_format.value, metadata=dated)
    return target.getvalue()


def _short(title: str, most: int = 70) -> str:
    """A title that fits; a name is the user's, so a dollar sign is not mathematics."""
    cut = title if len(title) <= most else f"{title[: most - 1]}…"
    return cut.replace("$", r"\$")
