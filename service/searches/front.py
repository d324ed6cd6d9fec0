"""The Pareto front as REST shows it: filtered, ordered, as JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.fields import Identity
from elasticnas.api_schemas.searches import EvaluationRead, FrontRead, SearchCreate, is_cost
from elasticnas.search.knee import knee
from elasticnas.service.http.etags import etag_of, matches
from elasticnas.service.http.problems import documented
from elasticnas.service.principal import Principal, PrincipalDep
from elasticnas.service.runtime import Service, ServiceDep
from elasticnas.service.searches import front_repository as fronts
from elasticnas.service.searches import repository, views
from elasticnas.service.searches.bounds import Bounds
from elasticnas.tasks import METRICS, TASKS, Task

router = APIRouter(prefix="/v1/searches", tags=["searches"])

PARAMETERS = ("format",)
"""What a request may say beside bounds."""


@router.get(
    "/{search_id}/front",
    summary="The Pareto front so far",
    response_model=FrontRead,
    responses={
        **documented("not-found", "invalid-input"),
        200: {"content": {"text/csv": {"schema": {"type": "string"}}}},
        304: {"description": "Unchanged since the given ETag"},
    },
)
def read_front(
    request: Request,
    search_id: Identity,
    service: ServiceDep,
    principal: PrincipalDep,
    format: Annotated[Literal["json", "csv"] | None, Query()] = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """By rising cost. JSON, or CSV by ``format=csv`` or ``Accept: text/csv``.

    The ETag changes only when the front does, so polling with If-None-Match is cheap.
    """
    as_csv = format == "csv" or (format is None and (accept or "").startswith("text/csv"))
    with service.database.read() as session:
        task, revision = _revision(session, principal, search_id)
        bounds = Bounds.of(request.query_params, task, others=PARAMETERS)
        while True:
            etag = etag_of(search_id, revision, as_csv, bounds)
            headers = {"ETag": etag, "Cache-Control": "no-cache", "Vary": "Accept"}
            if matches(if_none_match, etag):
                return Response(status_code=304, headers=headers)
            if (body := service.fronts.get(etag)) is not None:
                break
            body = _render(session, service, principal, search_id, bounds, as_csv=as_csv)
            before, (_, revision) = revision, _revision(session, principal, search_id)
            if revision == before:  # else the front has moved on while it was read
                service.fronts.keep(etag, body)
                break
    media_type = "text/csv" if as_csv else "application/json"
    return Response(body, media_type=media_type, headers=headers)


def _revision(session: Session, principal: Principal, search_id: str) -> tuple[Task, int]:
    """The task of a search and the revision of its front: all that an unchanged answer needs."""
    task, revision = repository.front_revision(session, principal, search_id)
    return TASKS[task], revision


def _render(
    session: Session,
    service: Service,
    principal: Principal,
    search_id: str,
    bounds: Bounds,
    *,
    as_csv: bool,
) -> str:
    """The front as JSON or CSV, as it is now."""
    search = repository.found(session, principal, search_id)
    rows = fronts.points(session, search_id)
    space = service.reports.get(session, search.supernet_id).space
    numbers = {row.number for row in rows}
    points = [views.read_evaluation(row, space, numbers) for row in rows]
    objectives = SearchCreate.model_validate(search.request).objectives or []
    items = _ordered([point for point in points if bounds.admit(point)], objectives)
    if as_csv:
        return _csv(items)
    return FrontRead(
        items=items,
        best=_best(items, objectives),
        knee=_knee(items, objectives),
        hypervolume=search.hypervolume,
        reference_point=search.reference_point,
    ).model_dump_json()


def _ordered(items: list[EvaluationRead], objectives: Sequence[str]) -> list[EvaluationRead]:
    """By rising cost: the first cost among the objectives, or GFLOPs."""
    cost = next((name for name in objectives if is_cost(name)), Cost.GFLOPS)
    return sorted(items, key=lambda point: (point.cost[cost], point.number))


def _best(items: Sequence[EvaluationRead], objectives: Sequence[str]) -> int | None:
    """The number of the first of the items, which come by rising cost, that none surpasses."""
    if not items:
        return None
    metric = next(name for name in objectives if not is_cost(name))
    choose = max if METRICS[metric].is_better_when_larger else min
    return choose(items, key=lambda point: (point.metrics or {})[metric]).number


def _knee(items: Sequence[EvaluationRead], objectives: Sequence[str]) -> int | None:
    """The number of the item at the knee: see `search.knee.knee`."""
    losses = [[_loss(point, name) for name in objectives] for point in items]
    row = knee(np.array(losses).reshape(len(items), len(objectives)))
    return None if row is None else items[row].number


def _loss(point: EvaluationRead, name: str) -> float:
    """What is minimised, up to the scale of the objective."""
    return (
        float(point.cost[name])
        if is_cost(name)
        else METRICS[name].loss((point.metrics or {})[name])
    )


def _csv(items: Sequence[EvaluationRead]) -> str:
    """One row a point: number, metrics, costs, then the choice of each dimension."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    first = items[0] if items else None
    metrics = sorted(first.metrics or {}) if first else []
    costs = list(first.cost) if first else []
    dimensions = list(first.subnet) if first else []
    verified = [
        f"verified_{name}{end}"
        for name in metrics
        for end in ("", "_low", "_high")
        if any(point.verified for point in items)
    ]
    writer.writerow(["number", *metrics, *verified, *costs, *dimensions])
    for point in items:
        measured = point.metrics or {}
        writer.writerow(
            [
                point.number,
                *(measured.get(name, "") for name in metrics),
                *(_verified(point) if verified and point.verified else [""] * len(verified)),
                *(point.cost[name] for name in costs),
                *(point.subnet[name] for name in dimensions),
            ]
        )
    return out.getvalue()


def _verified(point: EvaluationRead) -> list[float]:
    """Each metric of a verified point with the ends of its interval, by the metric's name."""
    assert point.verified is not None
    intervals = [point.verified.metrics[name] for name in sorted(point.verified.metrics)]
    return [value for each in intervals for value in (each.value, each.low, each.high)]
