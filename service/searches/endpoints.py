"""``/v1/searches``: create, list, read, annotate, change, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import JsonValue

from elasticnas.api_schemas.annotations import SearchPatch
from elasticnas.api_schemas.fields import Identity
from elasticnas.api_schemas.listing import SearchSort
from elasticnas.api_schemas.paging import Page
from elasticnas.api_schemas.searches import (
    BudgetExtension,
    SearchCreate,
    SearchRead,
    SearchState,
)
from elasticnas.service.annotations import annotate
from elasticnas.service.http.filters import IdSought, TagSought, TextSought
from elasticnas.service.http.paging import Cursor, Limit
from elasticnas.service.http.problems import documented
from elasticnas.service.http.routing import BodyAsSent, StrictRoute
from elasticnas.service.idempotency import KeyHeader, KeyOfRequest
from elasticnas.service.principal import PrincipalDep
from elasticnas.service.runtime import Service, ServiceDep
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
    asked: BodyAsSent,
    idempotency_key: KeyHeader = None,
) -> SearchRead:
    """Queue a search; it starts within a moment.

    What can be seen to be wrong is refused here: a metric that is not the task's, a
    constraint that no subnet meets, a label that the super-network cannot predict.
    """
    key = KeyOfRequest.of(idempotency_key, body)
    return _read(service, create(service, principal, body, key, asked))


@router.get("", summary="List searches", responses=documented("invalid-input"))
def list_searches(
    service: ServiceDep,
    principal: PrincipalDep,
    q: TextSought = None,
    tag: TagSought = None,
    state: Annotated[list[SearchState] | None, Query()] = None,
    supernet_id: IdSought = None,
    dataset_id: IdSought = None,
    sparkline: Annotated[bool, Query(description="also how each hypervolume has grown")] = False,
    sort: SearchSort = SearchSort.NEWEST,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[SearchRead]:
    """The newest first, unless sorted otherwise; those in several states if `state` is repeated."""
    wanted = repository.Wanted(q, tag, state, supernet_id, dataset_id)
    with service.database.read() as session:
        rows, following = repository.page(
            session, principal, wanted, sort=sort, limit=limit, cursor=cursor
        )
        items = views.read_searches(session, service.reports, rows, service.present)
        if sparkline:
            views.sparklines(session, items)
    return Page(items=items, next_cursor=following)


@router.get("/{search_id}", summary="Read a search", responses=documented("not-found"))
def read_search(search_id: Identity, service: ServiceDep, principal: PrincipalDep) -> SearchRead:
    """State, progress, hypervolume, and the best evaluation so far."""
    with service.database.read() as session:
        row = repository.found(session, principal, search_id)
        return views.read_searches(session, service.reports, [row], service.present)[0]


@router.patch(
    "/{search_id}",
    summary="Name a search, write notes and tags on it",
    responses=documented("not-found", "invalid-request"),
)
def patch_search(
    search_id: Identity, body: SearchPatch, service: ServiceDep, principal: PrincipalDep
) -> SearchRead:
    """What is left out stays as it is. In any state; nothing else of the search changes."""
    with service.database.write() as session:
        row = repository.found(session, principal, search_id, lock=True)
        annotate(row, body)
    return _read(service, row)


@router.get(
    "/{search_id}/request",
    summary="The request of a search",
    responses=documented("not-found"),
)
def read_request(
    search_id: Identity, service: ServiceDep, principal: PrincipalDep
) -> dict[str, JsonValue]:
    """The body of `POST /v1/searches` as it was given, which may be sent again.

    Of a search of an earlier version its defaults are filled in.
    """
    with service.database.read() as session:
        return repository.asked(session, principal, search_id)


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


def _read(service: Service, row: SearchRow) -> SearchRead:
    with service.database.read() as session:
        return views.read_searches(session, service.reports, [row], service.present)[0]
