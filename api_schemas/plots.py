"""The pictures of a search."""

from __future__ import annotations

from enum import StrEnum


class PlotKind(StrEnum):
    """What can be drawn.

    ``front``: every subnet a dot, the Pareto front a staircase. ``history``: the hypervolume as
    results came. ``importance``: which dimensions decided the metric. ``widths``: how wide the
    front's subnets are, layer by layer.
    """

    FRONT = "front"
    HISTORY = "history"
    IMPORTANCE = "importance"
    WIDTHS = "widths"


class PictureFormat(StrEnum):
    """How a picture is written."""

    PNG = "png"
    SVG = "svg"

    @property
    def media_type(self) -> str:
        """What HTTP calls it."""
        return "image/png" if self is PictureFormat.PNG else "image/svg+xml"
