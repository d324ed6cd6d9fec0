"""The pictures there are, by name."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from elasticnas.api_schemas.plots import PlotKind
from elasticnas.service.plots.front import draw_front
from elasticnas.service.plots.history import draw_history
from elasticnas.service.plots.importance import draw_importance
from elasticnas.service.plots.subject import Subject
from elasticnas.service.plots.widths import draw_widths

PLOTS: dict[PlotKind, Callable[[Subject], Figure]] = {
    PlotKind.FRONT: draw_front,
    PlotKind.HISTORY: draw_history,
    PlotKind.IMPORTANCE: draw_importance,
    PlotKind.WIDTHS: draw_widths,
}
"""Each draws a subject, or raises the problem that keeps it from doing so."""
