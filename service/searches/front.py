"""The Pareto front as REST shows it: filtered, ordered, as JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response

from api_schemas.costs import Cost
from api_schemas.metrics import TASK_METRICS, Metric, Task
from api_schemas.problems import InputError
from api_schemas.searches import EvaluationRead, FrontRead, SearchCreate
from service.http.etags import etag_of, matches
from service.http.problems import documented
from service.runtime import ServiceDep
from service.searches import evaluations, reading
from service.searches.endpoints import found
from service.searches.tables import SearchRow

router = APIRouter(prefix="/v1/searches", tags=["searches"])


def _parameter(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "query",
        "required": False,
        "description": description,
        "schema": {"type": "number"},
    }


BOUNDS = [_parameter(f"max_{cost}", f"only points of at most this {cost}") for cost in Cost] + [
    _parameter(f"min_{metric}", f"only points of at least this {metric}") for metric in Metric
]


@dataclass(frozen=True)
class Bounds:
    """Upper bounds on costs, lower bounds on metrics."""

    costs: Mapping[str, float]
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, query: Mapping[str, str], task: Task) -> Bounds:
        """The bounds among the query parameters.

        Raises:
            InputError: a parameter does not exist, is of another task, or is not a number.
        """
        valid = {f"max_{cost}": cost.value for cost in Cost}
        valid |= {f"min_{metric}": metric.value for metric in TASK_METRICS[task]}
        costs: dict[str, float] = {}
        metrics: dict[str, float] = {}
        for name, text in query.items():
            if name == "format":
                continue
            if name not in valid:
                raise InputError(
                    "there is no such filter on this search's front",
                    field=name,
                    value=text,
                    remedy=f"valid are format, {', '.join(valid)}",
                )
            try:
                bound = float(text)
            except ValueError as error:
                raise InputError("this is not a number", field=name, value=text) from error
            (costs if name.startswith("max_") else metrics)[valid[name]] = bound
        return cls(costs, metrics)

    def admit(self, point: EvaluationRead) -> bool:
        """True when the point lies within every bound."""
        metrics = point.metrics or {}
        return all(point.cost[name] <= bound for name, bound in self.costs.items()) and all(
            name in metrics and metrics[name] >= bound for name, bound in self.metrics.items()
        )


@router.get(
    "/{search_id}/front",
    summary="The Pareto front so far",
    response_model=FrontRead,
    openapi_extra={"parameters": BOUNDS},
    responses={
        **documented("not-found", "invalid-input"),
        200: {"content": {"text/csv": {"schema": {"type": "string"}}}},
        304: {"description": "Unchanged since the given ETag"},
    },
)
def read_front(
    request: Request,
    search_id: str,
    service: ServiceDep,
    format: Annotated[Literal["json", "csv"] | None, Query()] = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """By rising cost. JSON, or CSV by ``format=csv`` or ``Accept: text/csv``.

    The ETag changes only when the front does, so polling with If-None-Match is cheap.
    """
    as_csv = format == "csv" or (format is None and (accept or "").startswith("text/csv"))
    with service.database.read() as session:
        search = found(session.get(SearchRow, search_id), search_id)
        bounds = Bounds.of(request.query_params, Task(search.task))
        etag = etag_of(search.id, search.front_revision, as_csv, bounds)
        headers = {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept"}
        if matches(if_none_match, etag):
            return Response(status_code=304, headers=headers)
        rows = evaluations.front(session, search_id)
        space = service.known.get(session, search.supernet_id).space
    numbers = {row.number for row in rows}
    points = [reading.read_evaluation(row, space, numbers) for row in rows]
    items = _ordered([point for point in points if bounds.admit(point)], search)
    if as_csv:
        return Response(_csv(items), media_type="text/csv", headers=headers)
    body = FrontRead(
        items=items, hypervolume=search.hypervolume, reference_point=search.reference_point
    )
    return Response(body.model_dump_json(), media_type="application/json", headers=headers)


def _ordered(items: list[EvaluationRead], search: SearchRow) -> list[EvaluationRead]:
    """By rising cost: the first cost among the objectives, or GFLOPs."""
    objectives = SearchCreate.model_validate(search.request).objectives or []
    cost = next((name for name in objectives if isinstance(name, Cost)), Cost.GFLOPS)
    return sorted(items, key=lambda point: (point.cost[cost.value], point.number))


def _csv(items: Sequence[EvaluationRead]) -> str:
    """One row a point: number, metrics, costs, then the choice of each dimension."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    first = items[0] if items else None
    metrics = sorted(first.metrics or {}) if first else []
    costs = list(first.cost) if first else []
    dimensions = list(first.subnet) if first else []
    writer.writerow(["number", *metrics, *costs, *dimensions])
    for point in items:
        measured = point.metrics or {}
        writer.writerow(
            [
                point.number,
                *(measured.get(name, "") for name in metrics),
                *(point.cost[name] for name in costs),
                *(point.subnet[name] for name in dimensions),
            ]
        )
    return out.getvalue()
