"""A Pareto front as a table."""

from __future__ import annotations

from rich.table import Table

from elasticnas.api_schemas.searches import EvaluationRead, SearchRead, is_cost
from elasticnas.cli.output import table


def front_table(search: SearchRead, front: list[EvaluationRead], *, most: int = 1000) -> Table:
    """One row per point by rising cost: objectives, the share of the largest cost, the cut widths.

    ``most`` bounds the rows; where there are more, they are thinned out evenly.
    """
    names = search.objectives
    costs = [name for name in names if is_cost(name)]
    metric = next(name for name in names if not is_cost(name))
    verified = [f"verified {metric}"] if any(point.verified for point in front) else []
    made = table(
        f"Pareto front: {len(front)} of {_measured(search)} subnets, "
        f"hypervolume {search.hypervolume:.4f}",
        "subnet",
        *names,
        *([f"% of max {costs[0]}"] if costs else []),
        *verified,
        "params",
        "mean heads",
        "mean FFN",
        "mean rank",
    )
    for point in thinned(front, most):
        share = []
        if costs:
            maximal = search.maximal_cost.get(costs[0])
            share = ["" if maximal is None else f"{100 * point.cost[costs[0]] / maximal:.0f}"]
        values = (point.metrics or {}) | point.cost
        made.add_row(
            str(point.number),
            *(_number(values[name]) for name in names),
            *share,
            *([_interval(point, metric)] if verified else []),
            f"{point.cost['params'] / 1e6:.1f} M",
            *(_mean(point, ending) for ending in ("attention.heads", "ffn.width", "lora.rank")),
        )
    return made


def _measured(search: SearchRead) -> str:
    """How many subnets were measured, and how many of them not on every row."""
    progress = search.progress
    given_up = f" ({progress.given_up} given up)" if progress.given_up else ""
    return f"{progress.completed + progress.given_up}{given_up}"


def thinned(front: list[EvaluationRead], most: int) -> list[EvaluationRead]:
    """At most ``most`` points, the ends among them."""
    if len(front) <= most:
        return front
    return [front[round(i * (len(front) - 1) / (most - 1))] for i in range(most)]


def _mean(point: EvaluationRead, ending: str) -> str:
    """The mean choice over the layers, a dash where the space has no such dimension."""
    choices = [choice for name, choice in point.subnet.items() if name.endswith(ending)]
    return f"{sum(choices) / len(choices):.1f}" if choices else "-"


def _interval(point: EvaluationRead, metric: str) -> str:
    """The metric on rows that the search never saw, with its 95 % interval."""
    if point.verified is None:
        return "-"
    found = point.verified.metrics[metric]
    return f"{found.value:.4f} ({found.low:.3f} to {found.high:.3f})"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
