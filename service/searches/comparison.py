"""``/v1/searches/{id}/compare``: two subnets beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query

from elasticnas.api_schemas.comparison import (
    ComparisonRead,
    CostDifference,
    DimensionDifference,
    MeasuredOn,
    MetricDifference,
)
from elasticnas.api_schemas.fields import Identity, Number
from elasticnas.api_schemas.racing import Hits
from elasticnas.api_schemas.verification import Interval, Verified
from elasticnas.search import paired
from elasticnas.search.space import SearchSpace
from elasticnas.service.http.problems import documented
from elasticnas.service.principal import PrincipalDep
from elasticnas.service.runtime import ServiceDep
from elasticnas.service.searches import lookup, repository
from elasticnas.service.searches.tables import EvaluationRow
from elasticnas.tasks import TASKS, Metric

router = APIRouter(prefix="/v1/searches", tags=["searches"])

NOT_KEPT = (
    "no outcomes of single rows are kept of both: a search keeps them of the front that it "
    "verifies (`verify`), and of what a race (`racing`) measures on every row"
)


@router.get(
    "/{search_id}/compare",
    summary="Compare two subnets",
    responses=documented("not-found", "not-completed"),
)
def compare(
    search_id: Identity,
    a: Annotated[Number, Query(description="number of one evaluation")],
    b: Annotated[Number, Query(description="number of the other")],
    service: ServiceDep,
    principal: PrincipalDep,
) -> ComparisonRead:
    """Where they differ, with a paired interval of each difference between metrics.

    On the rows that verified both, if there are any: the search's own rows had a part in choosing
    them. Without, the metrics are those of the search.
    """
    with service.database.read() as session:
        search = repository.found(session, principal, search_id)
        space = service.reports.get(session, search.supernet_id).space
        first, second = lookup.with_outcomes(session, search_id, a, b)
    metrics, measured_on = _metrics(first, second, TASKS[search.task].raced)
    return ComparisonRead(
        a=a,
        b=b,
        dimensions=_dimensions(space, first, second),
        cost={
            name: CostDifference(a=value, b=second.cost[name], difference=second.cost[name] - value)
            for name, value in first.cost.items()
            if name in second.cost
        },
        metrics=metrics,
        measured_on=measured_on,
        why_no_interval=None if measured_on else NOT_KEPT,
    )


def _dimensions(
    space: SearchSpace, first: EvaluationRow, second: EvaluationRow
) -> list[DimensionDifference]:
    one, other = space.decode(first.choices), space.decode(second.choices)
    return [
        DimensionDifference(
            name=each.name, part=each.part, layer=each.layer, a=one[each.name], b=other[each.name]
        )
        for each in space.dimensions
        if one[each.name] != other[each.name]
    ]


def _metrics(
    first: EvaluationRow, second: EvaluationRow, raced: Metric | None
) -> tuple[dict[str, MetricDifference], MeasuredOn | None]:
    """The difference of each metric, and on which rows intervals are known."""
    one, other = _verified(first), _verified(second)
    if one is not None and other is not None and first.resamples and second.resamples:
        values = tuple(
            {name: each.value for name, each in verified.metrics.items()}
            for verified in (one, other)
        )
        intervals = {
            name: paired.of_resamples(
                values[1][name] - values[0][name], drawn, second.resamples[name]
            )
            for name, drawn in first.resamples.items()
            if name in second.resamples
        }
        on = MeasuredOn(rows=one.rows, part="verification")
        return _differences(values[0], values[1], intervals), on
    measured = first.metrics or {}, second.metrics or {}
    if first.hits and second.hits and raced is not None:
        hits = Hits.model_validate(first.hits), Hits.model_validate(second.hits)
        on = MeasuredOn(rows=hits[0].rows, part="search")
        return _differences(*measured, {raced.name: paired.of_hits(*hits)}), on
    return _differences(*measured, {}), None


def _verified(row: EvaluationRow) -> Verified | None:
    """A problem is kept in place of what could not be verified."""
    if not row.verified or "problem" in row.verified:
        return None
    return Verified.model_validate(row.verified)


def _differences(
    first: Mapping[str, float], second: Mapping[str, float], intervals: Mapping[str, Interval]
) -> dict[str, MetricDifference]:
    found = {}
    for name, value in first.items():
        if name in second:
            difference = MetricDifference(a=value, b=second[name], difference=second[name] - value)
            if (interval := intervals.get(name)) is not None:
                difference.low, difference.high = interval.low, interval.high
                difference.could_be_chance = interval.low <= 0.0 <= interval.high
            found[name] = difference
    return found
