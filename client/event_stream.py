"""Server-sent events as a client reads them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Generic, TypeVar

import httpx2
from pydantic import BaseModel, JsonValue

from elasticnas.api_schemas.jobs import JobEventKind, JobState
from elasticnas.api_schemas.overview import OverviewEventKind
from elasticnas.api_schemas.search_events import SearchEventKind
from elasticnas.api_schemas.searches import SearchState
from elasticnas.client.connection import TRIES, Connection


class SearchEvent(BaseModel):
    """One event of a search; ``id`` is None for what is not kept."""

    id: int | None
    event: SearchEventKind
    data: dict[str, JsonValue]

    @property
    def is_last(self) -> bool:
        """True for a final state."""
        return self.event is SearchEventKind.STATE and SearchState(str(self.data["state"])).is_final


class JobEvent(BaseModel):
    """One event of a job; ``id`` is None for what is not kept."""

    id: int | None
    event: JobEventKind
    data: dict[str, JsonValue]

    @property
    def is_last(self) -> bool:
        """True for a final state of the job."""
        return self.event is JobEventKind.STATE and JobState(str(self.data["state"])).is_final


class OverviewEvent(BaseModel):
    """One event of everything; ``id`` is None for what is not kept."""

    id: int | None
    event: OverviewEventKind
    data: dict[str, JsonValue]

    @property
    def is_last(self) -> bool:
        """Never: there may always be more."""
        return False


Event = TypeVar("Event", SearchEvent, JobEvent, OverviewEvent)

SILENCE_SECONDS = 60.0
"""A stream of events that is silent for so long is lost: the server says something every 15 s."""

_KINDS: dict[type[BaseModel], type[StrEnum]] = {
    SearchEvent: SearchEventKind,
    JobEvent: JobEventKind,
    OverviewEvent: OverviewEventKind,
}


class EventReader(Generic[Event]):
    """Reads a stream line by line, and remembers where to go on should it break off.

    As the HTML standard says ("Interpreting an event stream"); what it leaves to chance, such as
    event kinds that this client does not know, is passed over.
    """

    def __init__(self, event: type[Event], after: int | None = None) -> None:
        self._event: type[Event] = event
        self._kinds = set(_KINDS[event])
        self.last_id = None if after is None else str(after)
        self.retry_seconds = 1.0
        self.is_over = False
        """True after the last event: there is nothing to come back for."""

    @property
    def headers(self) -> dict[str, str]:
        """What to send with the next request."""
        return {} if self.last_id is None else {"Last-Event-ID": self.last_id}

    def read(self, lines: Iterable[str]) -> Iterator[Event]:
        """The events of one stream."""
        fields: dict[str, str] = {}
        for line in lines:
            if line:
                name, _, value = line.partition(":")
                value = value.removeprefix(" ")
                fields[name] = f"{fields[name]}\n{value}" if name in fields else value
                continue
            self.last_id = fields.get("id", self.last_id)
            if "retry" in fields:
                self.retry_seconds = int(fields["retry"]) / 1000
            kind = fields.get("event")
            if kind in self._kinds and "data" in fields:
                event = self._event.model_validate(
                    {
                        "id": int(fields["id"]) if "id" in fields else None,
                        "event": kind,
                        "data": json.loads(fields["data"]),
                    }
                )
                self.is_over = event.is_last
                yield event
            fields = {}


def followed(connection: Connection, path: str, reader: EventReader[Event]) -> Iterator[Event]:
    """The events of the stream at a path until the last, across lost connections.

    Raises:
        ServerProblemError: there is no such stream.
        ServerUnreachableError: it broke off too often.
    """
    failures = 0
    while not reader.is_over:
        try:
            with connection.stream(path, headers=reader.headers, timeout=SILENCE_SECONDS) as answer:
                if answer.status_code == 204:
                    return
                for event in reader.read(answer.iter_lines()):
                    failures = 0
                    yield event
        except httpx2.TransportError as error:
            failures += 1
            if failures == TRIES or reader.last_id is None:
                raise connection.unreachable(error) from error
        if not reader.is_over:
            time.sleep(reader.retry_seconds)
