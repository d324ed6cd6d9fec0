"""Events in the format of the HTML standard, section "Server-sent events"."""

from __future__ import annotations

import json
from dataclasses import dataclass

from fastapi.sse import format_sse_event
from pydantic import BaseModel

from elasticnas.service.streaming.feed import EventRow

PROGRESS = "progress"
EVALUATION = "evaluation"

RETRY_MILLISECONDS = 2000
"""How long a client that lost its connection waits before it comes back."""
KEEP_ALIVE = format_sse_event(comment="still here")
"""A comment: proxies close what is silent for long."""


def opening(after: int) -> bytes:
    """The first words of a stream. An id without data is no event, but what a client that loses
    its connection before the first event comes back with."""
    return format_sse_event(id=str(max(after, 0)), retry=RETRY_MILLISECONDS)


@dataclass(frozen=True)
class NumberedEvent:
    """An event that is kept, encoded once for all who are sent it."""

    number: int
    text: bytes


def numbered(row: EventRow) -> NumberedEvent:
    """A kept event; its number is the id that a client may come back with."""
    data = json.dumps(row.data, separators=(",", ":"))
    return NumberedEvent(
        row.number, format_sse_event(event=row.kind, data_str=data, id=str(row.number))
    )


def progress(event: BaseModel) -> bytes:
    """Where a topic is at the moment."""
    return _passing(PROGRESS, event)


def evaluations(event: BaseModel) -> bytes:
    """Results that have been recorded."""
    return _passing(EVALUATION, event)


def _passing(kind: str, event: BaseModel) -> bytes:
    """Of the moment, and so without an id: a client comes back for what is kept alone."""
    return format_sse_event(event=kind, data_str=event.model_dump_json())
