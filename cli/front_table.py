"""A Pareto front as a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rich.table import Table

from elasticnas.api_schemas.searches import EvaluationRead, SearchRead, is_cost
from elasticnas.api_schemas.spaces import SpaceRead
from elasticnas.cli.output import number_text, table


def front_table(
    search: SearchRead, front: list[EvaluationRead], space: SpaceRead, *, most: int = 1000
) -> Table:
    """One row per point by rising cost: objectives, the share of the largest cost, the cut widths.

    ``space`` is the one that was searched. ``most`` bounds the rows; where there are more, they are
    thinned out evenly.
    """
    amounts: dict[str, list[str]] = defaultdict(list)
    for dimension in space.dimensions:
        if dimension.amounts is not None and dimension.layer is not None:
            amounts[dimension.part].append(dimension.name)
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
        *(f"mean {part}" for part in amounts),
    )
    for point in thinned(front, most):
        share = []
        if costs:
            maximal = search.maximal_cost.get(costs[0])
            share = ["" if maximal is None else f"{100 * point.cost[costs[0]] / maximal:.0f}"]
        values = (point.metrics or {}) | point.cost
        made.add_row(
            str(point.number),
            *(number_text(values[name]) for name in names),
            *share,
            *([_interval(point, metric)] if verified else []),
            f"{point.cost['params'] / 1e6:.1f} M",
            *(_mean(point, names) for names in amounts.values()),
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


def _mean(point: EvaluationRead, names: Sequence[str]) -> str:
    """The mean choice of these dimensions, one for each layer."""
    choices = [choice for name in names if isinstance(choice := point.subnet[name], int)]
    return f"{sum(choices) / len(names):.1f}"


def _interval(point: EvaluationRead, metric: str) -> str:
    """The metric on rows that the search never saw, with its 95 % interval."""
    if point.verified is None:
        return "-"
    found = point.verified.metrics[metric]
    return f"{found.value:.4f} ({found.low:.3f} to {found.high:.3f})"
