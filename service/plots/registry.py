"""The pictures there are, by name."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from api_schemas.plots import PlotKind
from service.plots.front import draw_front
from service.plots.history import draw_history
from service.plots.importance import draw_importance
from service.plots.subject import Subject
from service.plots.widths import draw_widths

PLOTS: dict[PlotKind, Callable[[Subject], Figure]] = {
    PlotKind.FRONT: draw_front,
    PlotKind.HISTORY: draw_history,
    PlotKind.IMPORTANCE: draw_importance,
    PlotKind.WIDTHS: draw_widths,
}
"""Each draws a subject, or raises the problem that keeps it from doing so."""
