"""Server-sent events as a client reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, JsonValue

from elasticnas.api_schemas.searches import SearchEventKind, SearchState


class SearchEvent(BaseModel):
    """One event of a search; ``id`` is None for what is not kept."""

    id: int | None
    event: SearchEventKind
    data: dict[str, JsonValue]

    @property
    def ends_the_search(self) -> bool:
        """True for a final state."""
        return self.event is SearchEventKind.STATE and SearchState(str(self.data["state"])).is_final


class EventReader:
    """Reads a stream line by line, and remembers where to go on should it break off.

    As the HTML standard says ("Interpreting an event stream"); what it leaves to chance, such as
    event kinds that this client does not know, is passed over.
    """

    def __init__(self, after: int | None = None) -> None:
        self.last_id = None if after is None else str(after)
        self.retry_seconds = 1.0
        self.is_over = False
        """True when the last event ended the search: there is nothing to come back for."""

    @property
    def headers(self) -> dict[str, str]:
        """What to send with the next request."""
        return {} if self.last_id is None else {"Last-Event-ID": self.last_id}

    def read(self, lines: Iterable[str]) -> Iterator[SearchEvent]:
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
            if kind in set(SearchEventKind) and "data" in fields:
                event = SearchEvent(
                    id=int(fields["id"]) if "id" in fields else None,
                    event=SearchEventKind(kind),
                    data=json.loads(fields["data"]),
                )
                self.is_over = event.ends_the_search
                yield event
            fields = {}
