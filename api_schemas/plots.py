"""The pictures of a search."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, JsonValue


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
    JSON = "json"
    """What the picture is drawn of."""
    VEGA_LITE = "vega-lite"
    """A Vega-Lite 5 specification with its data, for a notebook or a page that draws it."""

    @property
    def media_type(self) -> str:
        """What HTTP calls it."""
        return MEDIA_TYPES[self]

    @property
    def ending(self) -> str:
        """How the name of such a file ends."""
        return ".vl.json" if self is PictureFormat.VEGA_LITE else f".{self.value}"


MEDIA_TYPES = {
    PictureFormat.PNG: "image/png",
    PictureFormat.SVG: "image/svg+xml",
    PictureFormat.JSON: "application/json",
    PictureFormat.VEGA_LITE: "application/vnd.vegalite.v5+json",
}


class PlotData(BaseModel):
    """What a picture is drawn of: ``layers`` are lists of marks, each with its values by name."""

    kind: PlotKind
    title: str
    layers: dict[str, list[dict[str, JsonValue]]]
