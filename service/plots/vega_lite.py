"""The pictures as Vega-Lite specifications, each with its data.

https://vega.github.io/vega-lite/docs/spec.html, version 5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from elasticnas.api_schemas.plots import PlotKind
from elasticnas.service.plots.data import plot_data
from elasticnas.service.plots.look import (
    BLUE,
    COLOURS,
    GREEN,
    GREY,
    OTHER,
    VERMILION,
    axis_title,
    is_better_when_less,
    words,
)
from elasticnas.service.plots.subject import Subject

Spec = dict[str, Any]

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
WIDTH = 640


def vega_lite(kind: PlotKind, subject: Subject) -> Spec:
    """The specification of a picture.

    Raises:
        ProblemError: there is nothing to draw (409).
    """
    data = plot_data(kind, subject)
    return {
        "$schema": SCHEMA,
        "title": data.title,
        "width": WIDTH,
        "datasets": data.layers,
        **_SPECS[kind](subject),
    }


def _front(subject: Subject) -> Spec:
    x, y = subject.across, subject.metric
    across = _quantity(x, axis_title(x, subject.max_length), scale={"zero": False})
    up = _quantity(y, words(y), scale={"zero": False})
    told = [{"field": name} for name in ("number", "origin", *(subject.request.objectives or ()))]
    found = {"x": across, "y": up, "tooltip": told}
    layers: list[Spec] = [
        {
            "data": {"name": "measured"},
            "mark": {"type": "point", "color": GREY, "opacity": 0.55},
            "encoding": {
                **found,
                "shape": {
                    "field": "given_up",
                    "type": "nominal",
                    "scale": {"domain": [False, True], "range": ["circle", "cross"]},
                    "title": "given up, estimated",
                },
            },
        },
        _staircase(x, y, across),
        {
            "data": {"name": "front"},
            "mark": {"type": "point", "filled": True, "size": 50, "color": BLUE},
            "encoding": found,
        },
    ]
    if any(each.verified and y in each.verified.metrics for each in subject.front):
        layers.append(
            {
                "data": {"name": "front"},
                "transform": [{"filter": f"datum.verified && datum.verified['{y}']"}],
                "mark": {"type": "errorbar", "color": GREEN, "ticks": True},
                "encoding": {
                    "x": across,
                    "y": _quantity(f"verified.{y}.low", words(y), scale={"zero": False}),
                    "y2": {"field": f"verified.{y}.high"},
                },
            }
        )
    return {"height": 400, "layer": layers}


def _staircase(x: str, y: str, across: Spec) -> Spec:
    """The best that can be had at each x; a third objective leaves points of the front aside."""
    falls = is_better_when_less(x)
    operation = "min" if is_better_when_less(y) else "max"
    return {
        "data": {"name": "front"},
        "transform": [
            {
                "sort": [{"field": x, "order": "ascending" if falls else "descending"}],
                "window": [{"op": operation, "field": y, "as": "best"}],
                "frame": [None, 0],
            }
        ],
        "mark": {
            "type": "line",
            "interpolate": "step-after" if falls else "step-before",
            "color": BLUE,
        },
        "encoding": {"x": across, "y": _quantity("best", words(y), scale={"zero": False})},
    }


def _history(_: Subject) -> Spec:
    found = {
        "x": _quantity("sequence", "evaluations recorded"),
        "y": _quantity("hypervolume", "hypervolume (share of the box, 0 to 1)"),
    }
    return {
        "height": 300,
        "data": {"name": "history"},
        "encoding": found,
        "layer": [
            {"mark": {"type": "line", "interpolate": "step-after", "color": BLUE}},
            {
                "transform": [{"filter": "datum.on_front"}],
                "mark": {"type": "point", "filled": True, "color": VERMILION, "tooltip": True},
            },
        ],
    }


def _importance(subject: Subject) -> Spec:
    parts = list(dict.fromkeys(each.part for each in subject.space.dimensions))
    colours = [COLOURS.get(part, OTHER) for part in parts]
    title = f"importance for being among the best tenth by {words(subject.metric)}"
    return {
        "data": {"name": "importance"},
        "mark": {"type": "bar", "tooltip": True},
        "encoding": {
            "y": {"field": "name", "type": "nominal", "sort": None, "title": None},
            "x": _quantity("share", title, axis={"format": "%"}),
            "color": {
                "field": "part",
                "type": "nominal",
                "title": None,
                "scale": {"domain": parts, "range": [colour for colour, _ in colours]},
            },
        },
    }


def _widths(_: Subject) -> Spec:
    return {
        "data": {"name": "widths"},
        "mark": {"type": "rect", "tooltip": True},
        "encoding": {
            "x": {
                "field": "layer",
                "type": "ordinal",
                "title": "layer (0 is next to the embeddings)",
            },
            "y": {"field": "part", "type": "nominal", "sort": None, "title": None},
            "color": {
                "field": "share",
                "type": "quantitative",
                "title": "of the largest choice",
                "scale": {"domain": [0, 1], "scheme": "cividis"},
                "legend": {"format": "%"},
            },
        },
    }


def _quantity(field: str, title: str, **options: Spec) -> Spec:
    return {"field": field, "type": "quantitative", "title": title, **options}


_SPECS: dict[PlotKind, Callable[[Subject], Spec]] = {
    PlotKind.FRONT: _front,
    PlotKind.HISTORY: _history,
    PlotKind.IMPORTANCE: _importance,
    PlotKind.WIDTHS: _widths,
}
