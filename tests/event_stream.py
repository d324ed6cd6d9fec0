"""Server-sent events as a client reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Event:
    """One event; ``id`` is None when the event itself carries none."""

    kind: str
    data: dict[str, Any]
    id: int | None


def parse(lines: Iterable[str]) -> Iterator[Event]:
    """The events of a stream, as its lines come; comments are left out."""
    fields: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith(":"):
            name, _, value = line.partition(": ")
            assert name in ("event", "data", "id", "retry"), line
            fields[name] = value
        elif not line and "data" in fields:
            number = fields.get("id")
            yield Event(
                fields["event"],
                json.loads(fields["data"]),
                None if number is None else int(number),
            )
        if not line:
            fields = {}


def kept(events: Iterable[Event]) -> list[Event]:
    """Those that have an id."""
    return [event for event in events if event.id is not None]
