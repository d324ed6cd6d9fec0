"""What the pictures are drawn of, as data."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from elasticnas.api_schemas.plots import PlotData, PlotKind
from elasticnas.service.plots.refusal import require_front
from elasticnas.service.plots.shares import shares_of, widths_of
from elasticnas.service.plots.subject import Measured, Subject

Layers = dict[str, list[dict[str, Any]]]


def plot_data(kind: PlotKind, subject: Subject) -> PlotData:
    """The data of a picture.

    Raises:
        ProblemError: there is nothing to draw (409).
    """
    return PlotData(kind=kind, title=subject.title, layers=DATA[kind](subject))


def _front(subject: Subject) -> Layers:
    require_front(subject)
    members = {point.number for point in subject.front}
    rest = [point for point in subject.measured if point.number not in members]
    names = subject.request.objectives or []
    return {
        "measured": [_point(each, names) for each in rest],
        "front": [_point(each, names) for each in subject.front],
    }


def _point(point: Measured, objectives: Sequence[str]) -> dict[str, Any]:
    verified = {} if point.verified is None else point.verified.metrics
    return {
        "number": point.number,
        "origin": point.origin,
        "given_up": point.is_given_up,
        **{name: point[name] for name in objectives},
        "verified": {name: each.model_dump() for name, each in verified.items()} or None,
    }


def _history(subject: Subject) -> Layers:
    require_front(subject)
    members = {point.number for point in subject.front}
    points = {each.number: each for each in [*subject.measured, *subject.front]}.values()
    return {
        "history": [
            {
                "sequence": each.sequence,
                "hypervolume": each.hypervolume,
                "on_front": each.number in members,
            }
            for each in sorted(points, key=lambda point: point.sequence)
        ]
    }


def _importance(subject: Subject) -> Layers:
    dimensions = {each.name: each for each in subject.space.dimensions}
    return {
        "importance": [
            {
                "name": name,
                "part": dimensions[name].part,
                "layer": dimensions[name].layer,
                "share": share,
            }
            for name, share in shares_of(subject).items()
        ]
    }


def _widths(subject: Subject) -> Layers:
    parts, shares = widths_of(subject)
    return {
        "widths": [
            {"part": part, "layer": layer, "share": None if math.isnan(share) else float(share)}
            for part, row in zip(parts, shares, strict=True)
            for layer, share in enumerate(row)
        ]
    }


DATA: dict[PlotKind, Callable[[Subject], Layers]] = {
    PlotKind.FRONT: _front,
    PlotKind.HISTORY: _history,
    PlotKind.IMPORTANCE: _importance,
    PlotKind.WIDTHS: _widths,
}
