"""Response bodies that were sent before, so that many polls of one search cost one rendering."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Body = TypeVar("Body", str, bytes)


class BodyCache(Generic[Body]):
    """Response bodies by their ETag, which determines their bytes; the ones used last are kept.

    They take at most ``limit_bytes`` together; a body that is larger by itself is not kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held = 0
        self._bodies: OrderedDict[str, Body] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """How many bytes the bodies in the cache take."""
        return self._held

    def get(self, etag: str) -> Body | None:
        """The body with this ETag, if it is in the cache."""
        with self._lock:
            if etag in self._bodies:
                self._bodies.move_to_end(etag)
            return self._bodies.get(etag)

    def keep(self, etag: str, body: Body) -> None:
        """Keep a body, and forget the least recently used ones if need be."""
        with self._lock:
            if (before := self._bodies.pop(etag, None)) is not None:
                self._held -= sys.getsizeof(before)
            if sys.getsizeof(body) > self._limit:
                return
            self._bodies[etag] = body
            self._held += sys.getsizeof(body)
            while self._held > self._limit:
                _, oldest = self._bodies.popitem(last=False)
                self._held -= sys.getsizeof(oldest)
