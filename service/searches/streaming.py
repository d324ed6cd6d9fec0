"""``/v1/searches/{id}/events``."""

from __future__ import annotations

from fastapi import APIRouter, Response

from elasticnas.api_schemas.fields import Identity
from elasticnas.api_schemas.search_events import SearchEventKind
from elasticnas.service.principal import PrincipalDep
from elasticnas.service.runtime import ServiceDep
from elasticnas.service.streaming.answer import (
    EventStream,
    LastEventIdHeader,
    LastEventIdQuery,
    described,
    event_stream,
)

router = APIRouter(prefix="/v1/searches", tags=["searches"])


@router.get(
    "/{search_id}/events",
    summary="Follow a search",
    response_class=EventStream,
    responses=described(SearchEventKind, "search"),
)
def search_events(
    search_id: Identity,
    service: ServiceDep,
    principal: PrincipalDep,
    last_event_id: LastEventIdHeader = None,
    last_event_id_in_query: LastEventIdQuery = None,
) -> Response:
    """Server-sent events: `progress` (no id, at most two a second), `state` and `front` (kept).

    Begins with the progress. With the id of an event, those after it are replayed; without one,
    the stream carries on from now. Ends with the search's final `state`; who then reconnects with
    that event's id is answered 204.
    """
    seen = last_event_id, last_event_id_in_query
    return event_stream(service.watcher, search_id, principal, *seen)
