"""``/v1/searches/{id}/events``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse

from elasticnas.api_schemas.fields import Identity
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import SearchEventKind
from elasticnas.service.http.problems import documented, not_found
from elasticnas.service.principal import PrincipalDep
from elasticnas.service.runtime import ServiceDep
from elasticnas.service.searches.streaming.snapshot import Snapshot, snapshots
from elasticnas.service.searches.streaming.stream import stream

router = APIRouter(prefix="/v1/searches", tags=["searches"])

EVENT = {
    "type": "object",
    "properties": {
        "event": {"enum": [kind.value for kind in SearchEventKind]},
        "id": {"type": "string", "description": "of a kept event"},
        "data": {"type": "string", "description": "JSON"},
    },
}
UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


class EventStream(StreamingResponse):
    """A response of events that are encoded already.

    (FastAPI's `EventSourceResponse` encodes every event anew for every client, and an endpoint that
    yields cannot answer 204.)
    """

    media_type = "text/event-stream"


LastEventIdHeader = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        description="the id of the last event that the client has seen; sent by EventSource",
    ),
]
LastEventIdQuery = Annotated[
    str | None,
    Query(
        alias="last_event_id",
        description="the same for clients that cannot set the header, which comes first; "
        "0 replays the whole history",
    ),
]


@router.get(
    "/{search_id}/events",
    summary="Follow a search",
    response_class=EventStream,
    responses=documented("not-found", "invalid-input")
    | {
        200: {
            "description": "Server-sent events; the schema is of one",
            "content": {"text/event-stream": {"schema": EVENT}},
        },
        204: {"description": "The search is over, and the client has seen all: do not reconnect"},
    },
)
def search_events(
    search_id: Identity,
    service: ServiceDep,
    principal: PrincipalDep,
    last_event_id: LastEventIdHeader = None,
    last_event_id_in_query: LastEventIdQuery = None,
) -> Response:
    """Server-sent events: `progress` (no id, at most two a second), `state` and `front` (kept).

    The stream begins with the progress. With the id of an event it replays the events after that
    one; without an id it goes on from now. It ends with the search's final `state`; a client that
    reconnects with the id of that event is answered 204.
    """
    with service.database.read() as session:
        seen = snapshots(session, [search_id], principal).get(search_id)
    if seen is None:
        raise not_found("search", search_id)
    if last_event_id is not None:
        after = _number(last_event_id, "Last-Event-ID", seen)
    elif last_event_id_in_query is not None:
        after = _number(last_event_id_in_query, "last_event_id", seen)
    else:
        # A search that is over has nothing to come: its final state is what there is to tell.
        after = seen.last_event - 1 if seen.state.is_final else seen.last_event
    if seen.state.is_final and after == seen.last_event:
        return Response(status_code=204)
    return EventStream(stream(service.watcher, search_id, seen, after), headers=UNBUFFERED)


def _number(text: str, field: str, seen: Snapshot) -> int:
    # int() alone would take digits of other scripts, signs, underscores and blanks.
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise InputError(
            "an event id is a whole number",
            field=field,
            value=text[:100],
            remedy="send the id of the last event you have seen, or 0 for the whole history",
        )
    if (number := int(text)) > seen.last_event:
        raise InputError(
            f"the search has had {seen.last_event} events",
            field=field,
            value=text,
            remedy="send the id of one of this search's events, or 0 for the whole history",
        )
    return number
