"""Answers as they were sent last, so that many who poll one search cost one rendering."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Body = TypeVar("Body", str, bytes)


class Rendered(Generic[Body]):
    """Response bodies by their ETag, which determines their bytes; the latest used are kept."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._bodies: OrderedDict[str, Body] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, etag: str) -> Body | None:
        """The body with this ETag, if it is kept."""
        with self._lock:
            if etag in self._bodies:
                self._bodies.move_to_end(etag)
            return self._bodies.get(etag)

    def keep(self, etag: str, body: Body) -> None:
        """Keep a body, and forget the least recently used one if need be."""
        with self._lock:
            self._bodies[etag] = body
            while len(self._bodies) > self._capacity:
                self._bodies.popitem(last=False)
