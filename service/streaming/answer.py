"""Answering with a stream of events."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from fastapi import Header, Query, Response
from fastapi.responses import StreamingResponse

from elasticnas.api_schemas.problems import InputError
from elasticnas.service.http.problems import documented, not_found
from elasticnas.service.principal import Principal
from elasticnas.service.streaming.feed import Snapshot
from elasticnas.service.streaming.stream import stream
from elasticnas.service.streaming.watcher import Watcher

UNBUFFERED = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def described(kinds: type[StrEnum], noun: str) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of an endpoint that streams these kinds of events, for OpenAPI."""
    event = {
        "type": "object",
        "properties": {
            "event": {"enum": [kind.value for kind in kinds]},
            "id": {"type": "string", "description": "of a kept event"},
            "data": {"type": "string", "description": "JSON"},
        },
    }
    return documented("not-found", "invalid-input") | {
        200: {
            "description": "Server-sent events; the schema is of one",
            "content": {"text/event-stream": {"schema": event}},
        },
        204: {"description": f"The {noun} is over, and the client has seen all: do not reconnect"},
    }


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


def event_stream(
    watcher: Watcher, topic: str, principal: Principal, header: str | None, query: str | None
) -> Response:
    """The events beyond the one that a client says it has seen last, in the ``header`` or else in
    the ``query``; without either, those from now on.

    Raises:
        ProblemError: the ``principal`` may read no such topic.
        InputError: there was no such event.
    """
    noun = watcher.feed.noun
    if (seen := watcher.snapshot(topic, principal)) is None:
        raise not_found(noun, topic)
    if header is not None:
        after = _number(header, "Last-Event-ID", seen, noun)
    elif query is not None:
        after = _number(query, "last_event_id", seen, noun)
    else:
        # What is over has nothing to come: its final state is what there is to tell.
        after = seen.last_event - 1 if seen.is_final else seen.last_event
    if seen.is_final and after == seen.last_event:
        return Response(status_code=204)
    return EventStream(stream(watcher, topic, seen, after), headers=UNBUFFERED)


def _number(text: str, field: str, seen: Snapshot, noun: str) -> int:
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
            f"the {noun} has had {seen.last_event} events",
            field=field,
            value=text,
            remedy=f"send the id of one of this {noun}'s events, or 0 for the whole history",
        )
    return number
