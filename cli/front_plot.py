"""A search drawn as a picture: every subnet a dot, the Pareto front a staircase."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from api_schemas.costs import Cost
from api_schemas.metrics import Metric
from api_schemas.problems import InputError
from api_schemas.searches import EvaluationRead, SearchRead

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#9AA0A6"
"""Okabe and Ito's palette, told apart by every kind of colour vision."""

MARKED = {"maximal": ("s", "maximal"), "heuristic": ("D", "heuristic"), "minimal": ("v", "minimal")}
UNITS = {
    "gflops": "GFLOPs",
    "params": "parameters",
    "nonzero_params": "non-zero parameters",
    "trainable_params": "trainable parameters",
    "torch_flops": "floating-point operations",
}


def plot_front(search: SearchRead, evaluations: list[EvaluationRead], target: Path) -> Path:
    """Draw the first metric over the first cost; the ending of ``target`` says PNG, SVG or PDF.

    Raises:
        InputError: the search has no cost among its objectives, or nothing has been measured yet.
    """
    metric = next(o for o in search.objectives if isinstance(o, Metric)).value
    costs = [o.value for o in search.objectives if isinstance(o, Cost)]
    measured = [e for e in evaluations if e.metrics is not None]
    if not costs or not measured:
        raise InputError(
            "there is nothing to draw: a picture needs a cost objective and a measured subnet",
            field="search",
            value=search.id,
        )
    cost = costs[0]
    figure, axes = plt.subplots(figsize=(9, 6), dpi=140, layout="constrained")
    _dots(axes, measured, metric, cost)
    _staircase(axes, measured, metric, cost)
    _references(axes, measured, metric, cost)
    axes.set_xlabel(f"{UNITS[cost]}, one sequence of {search.max_length} tokens")
    axes.set_ylabel(metric.replace("_", " "))
    axes.set_title(
        f"{search.name or 'Search'}: {len(measured)} subnets by {search.strategy.name}, "
        f"hypervolume {search.hypervolume:.4f}",
        loc="left",
    )
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    try:
        figure.savefig(target)
    except ValueError as error:
        raise InputError(str(error), field="picture", value=target) from error
    finally:
        plt.close(figure)
    return target


def _dots(axes: Axes, measured: list[EvaluationRead], metric: str, cost: str) -> None:
    x, y = _xy([e for e in measured if not e.on_front], metric, cost)
    axes.scatter(x, y, s=22, color=GREY, alpha=0.55, linewidths=0, label="evaluated")


def _staircase(axes: Axes, measured: list[EvaluationRead], metric: str, cost: str) -> None:
    front = sorted((e for e in measured if e.on_front), key=lambda e: e.cost[cost])
    x, y = _xy(front, metric, cost)
    axes.step(x, y, where="post", color=BLUE, linewidth=1.4)
    axes.scatter(x, y, s=42, color=BLUE, zorder=3, label="Pareto front")


def _references(axes: Axes, measured: list[EvaluationRead], metric: str, cost: str) -> None:
    for evaluation in measured:
        if evaluation.origin in MARKED:
            marker, label = MARKED[evaluation.origin]
            x, y = _xy([evaluation], metric, cost)
            axes.scatter(
                x,
                y,
                s=110,
                marker=marker,
                facecolors="none",
                edgecolors=ORANGE,
                linewidths=1.6,
                zorder=4,
                label=label,
            )


def _xy(
    evaluations: list[EvaluationRead], metric: str, cost: str
) -> tuple[list[float], list[float]]:
    return (
        [float(e.cost[cost]) for e in evaluations],
        [(e.metrics or {})[metric] for e in evaluations],
    )
