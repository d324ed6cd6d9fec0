"""``/v1/searches/{id}/evaluations``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.fields import Identity, Name, Number
from elasticnas.api_schemas.paging import Page
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import EvaluationRead, EvaluationState
from elasticnas.service.http.paging import Cursor, Limit, encode_cursor, value_and_number
from elasticnas.service.http.problems import documented
from elasticnas.service.principal import PrincipalDep
from elasticnas.service.runtime import ServiceDep
from elasticnas.service.searches import evaluation_repository as evaluations
from elasticnas.service.searches import front_repository as fronts
from elasticnas.service.searches import lookup, repository, views
from elasticnas.service.searches.bounds import Bounds
from elasticnas.tasks import TASKS, Task

router = APIRouter(prefix="/v1/searches", tags=["searches"])

PARAMETERS = ("state", "on_front", "sort", "limit", "cursor")
"""What a request may say beside bounds."""
NUMBER = "number"

SortBy = Annotated[
    Name,
    Query(description="`number`, a metric or a cost; with a hyphen before it the largest first"),
]


@router.get(
    "/{search_id}/evaluations",
    summary="List evaluations",
    responses=documented("not-found", "invalid-input"),
)
def list_evaluations(
    request: Request,
    search_id: Identity,
    service: ServiceDep,
    principal: PrincipalDep,
    state: Annotated[list[EvaluationState] | None, Query()] = None,
    on_front: Annotated[bool, Query(description="only what is on the front now")] = False,
    sort: SortBy = NUMBER,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> Page[EvaluationRead]:
    """Every evaluation of a search, by number; those in flight too.

    Only those within the bounds `max_<cost>` and `min_<metric>`, as of a front. Sorted by a metric,
    only those that have it.
    """
    after = None if cursor is None else value_and_number(cursor, sort)
    with service.database.read() as session:
        search = repository.found(session, principal, search_id)
        task = TASKS[search.task]
        bounds = Bounds.of(request.query_params, task, PARAMETERS)
        _require_sortable(sort, task)
        wanted = evaluations.Wanted(state or (), on_front, bounds.upper, bounds.lower, sort)
        rows = evaluations.page(session, search_id, wanted, after=after, limit=limit + 1)
        front = fronts.members(session, search_id)
        space = service.reports.get(session, search.supernet_id).space
    items = [views.read_evaluation(row, space, front) for row, _ in rows[:limit]]
    if len(rows) <= limit:
        return Page(items=items)
    last, value = rows[limit - 1]
    return Page(items=items, next_cursor=encode_cursor(sort, value, last.number))


def _require_sortable(sort: str, task: Task) -> None:
    valid = [NUMBER, *(metric.name for metric in task.metrics), *Cost]
    if sort.removeprefix("-") not in valid:
        raise InputError(
            "evaluations of this search cannot be sorted by this",
            field="sort",
            value=sort,
            remedy=f"valid are {', '.join(valid)}, also with a hyphen before it",
        )


@router.get(
    "/{search_id}/evaluations/{number}",
    summary="Read an evaluation",
    responses=documented("not-found"),
)
def read_evaluation(
    search_id: Identity, number: Number, service: ServiceDep, principal: PrincipalDep
) -> EvaluationRead:
    """One evaluation of a search, also while it is in flight."""
    with service.database.read() as session:
        search = repository.found(session, principal, search_id)
        row = lookup.found(session, search_id, number)
        front = fronts.members(session, search_id)
        space = service.reports.get(session, search.supernet_id).space
        return views.read_evaluation(row, space, front)
