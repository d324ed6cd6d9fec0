"""``/v1/searches``: create, list, read, cancel, delete, and the evaluations of each."""

from __future__ import annotations

from fastapi import APIRouter

from elasticnas.api_schemas.fields import Identity, Number
from elasticnas.api_schemas.paging import Page
from elasticnas.api_schemas.searches import (
    BudgetExtension,
    EvaluationRead,
    EvaluationState,
    SearchCreate,
    SearchRead,
)
from elasticnas.service.http.paging import Cursor, Limit, encode_cursor, number_of
from elasticnas.service.http.problems import documented, not_found
from elasticnas.service.http.routing import StrictRoute
from elasticnas.service.idempotency import KeyHeader, KeyOfRequest
from elasticnas.service.principal import PrincipalDep
from elasticnas.service.runtime import Service, ServiceDep
from elasticnas.service.searches import evaluation_repository as evaluations
from elasticnas.service.searches import repository, transitions, views
from elasticnas.service.searches.creation import create
from elasticnas.service.searches.tables import SearchRow

router = APIRouter(prefix="/v1/searches", tags=["searches"], route_class=StrictRoute)


@router.post(
    "",
    status_code=201,
    summary="Start a search",
    responses=documented(
        "invalid-request", "invalid-input", "supernet-not-ready", "idempotency-conflict"
    ),
)
def create_search(
    body: SearchCreate,
    service: ServiceDep,
    principal: PrincipalDep,
    idempotency_key: KeyHeader = None,
) -> SearchRead:
    """Queue a search; it starts within a moment.

    What can be seen to be wrong is refused here: a metric that is not the task's, a
    constraint that no subnet meets, a label that the super-network cannot predict.
    """
    key = KeyOfRequest.of(idempotency_key, body)
    return _read(service, create(service, principal, body, key))


@router.get("", summary="List searches")
def list_searches(
    service: ServiceDep, principal: PrincipalDep, limit: Limit = 50, cursor: Cursor = None
) -> Page[SearchRead]:
    """The newest first."""
    with service.database.read() as session:
        rows, following = repository.page(session, principal, limit=limit, cursor=cursor)
        items = views.read_searches(session, service.reports, rows, service.present)
    return Page(items=items, next_cursor=following)


@router.get("/{search_id}", summary="Read a search", responses=documented("not-found"))
def read_search(search_id: Identity, service: ServiceDep, principal: PrincipalDep) -> SearchRead:
    """State, progress, hypervolume, and the best evaluation so far."""
    with service.database.read() as session:
        row = repository.found(session, principal, search_id)
        return views.read_searches(session, service.reports, [row], service.present)[0]


@router.post(
    "/{search_id}/pause",
    summary="Pause a search",
    responses=documented("not-found", "illegal-transition"),
)
def pause_search(search_id: Identity, service: ServiceDep, principal: PrincipalDep) -> SearchRead:
    """No new evaluation begins; workers finish the ones they have begun. Its clock stands still."""
    return _read(service, transitions.pause(service, principal, search_id))


@router.post(
    "/{search_id}/resume",
    summary="Resume a search",
    responses=documented("not-found", "illegal-transition"),
)
def resume_search(search_id: Identity, service: ServiceDep, principal: PrincipalDep) -> SearchRead:
    """A paused search goes on where it stood."""
    return _read(service, transitions.resume(service, principal, search_id))


@router.post(
    "/{search_id}/cancel",
    summary="Cancel a search",
    responses=documented("not-found", "illegal-transition"),
)
def cancel_search(search_id: Identity, service: ServiceDep, principal: PrincipalDep) -> SearchRead:
    """What is recorded stays; what is in flight is dropped. Cancelling twice is no error."""
    return _read(service, transitions.cancel(service, principal, search_id))


@router.post(
    "/{search_id}/extend",
    summary="Extend a search",
    responses=documented("not-found", "illegal-transition", "invalid-request"),
)
def extend_search(
    search_id: Identity, body: BudgetExtension, service: ServiceDep, principal: PrincipalDep
) -> SearchRead:
    """More budget. A search that has ended goes on from its evaluations, however it ended."""
    return _read(service, transitions.extend(service, principal, search_id, body))


@router.post(
    "/{search_id}/retry",
    summary="Retry failed evaluations",
    responses=documented("not-found", "illegal-transition"),
)
def retry_search(search_id: Identity, service: ServiceDep, principal: PrincipalDep) -> SearchRead:
    """Every failed evaluation is measured once more, and every front member whose verification
    failed is verified once more; a search that has ended goes on."""
    return _read(service, transitions.retry(service, principal, search_id))


@router.delete(
    "/{search_id}",
    status_code=204,
    summary="Delete a search",
    responses=documented("not-found", "illegal-transition"),
)
def delete_search(search_id: Identity, service: ServiceDep, principal: PrincipalDep) -> None:
    """With its evaluations, front and exports. Only once it has ended: cancel it first."""
    transitions.delete(service, principal, search_id)


@router.get(
    "/{search_id}/evaluations", summary="List evaluations", responses=documented("not-found")
)
def list_evaluations(
    search_id: Identity,
    service: ServiceDep,
    principal: PrincipalDep,
    limit: Limit = 100,
    cursor: Cursor = None,
    state: EvaluationState | None = None,
) -> Page[EvaluationRead]:
    """Every evaluation of a search, by number; those in flight too."""
    after = -1 if cursor is None else number_of(cursor)
    with service.database.read() as session:
        search = repository.found(session, principal, search_id)
        rows = evaluations.page(session, search_id, state=state, after=after, limit=limit + 1)
        front = evaluations.front_numbers(session, search_id)
        space = service.reports.get(session, search.supernet_id).space
    items = [views.read_evaluation(row, space, front) for row in rows[:limit]]
    more = len(rows) > limit
    return Page(items=items, next_cursor=encode_cursor(items[-1].number) if more else None)


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
        row = evaluations.of_number(session, search_id, number)
        if row is None:
            raise not_found("evaluation", str(number))
        front = evaluations.front_numbers(session, search_id)
        space = service.reports.get(session, search.supernet_id).space
        return views.read_evaluation(row, space, front)


def _read(service: Service, row: SearchRow) -> SearchRead:
    with service.database.read() as session:
        return views.read_searches(session, service.reports, [row], service.present)[0]
