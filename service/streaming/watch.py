"""One stream's place in the watcher: what has happened since the stream last looked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from elasticnas.service.streaming.feed import Snapshot
from elasticnas.service.streaming.wire import NumberedEvent

KEPT_EVENTS = 1000
"""A client so slow that more than this waits for it is served from the database instead."""
KEPT_RESULTS = 20
"""As many batches of results wait for a slow client; it sees a gap, and reads the points."""


@dataclass(frozen=True)
class Update:
    """News of a topic. ``events`` need not be all that led to ``snapshot``: what lacks must be
    read from the database. ``progress`` is encoded, and None when it is not worth an event;
    ``results`` are encoded batches, in order."""

    snapshot: Snapshot
    events: Sequence[NumberedEvent] = ()
    progress: bytes | None = None
    results: Sequence[bytes] = ()


class Watch:
    """Gathers updates into one until the stream takes it. Belongs to one event loop."""

    def __init__(self) -> None:
        self._waiting: Update | None = None
        self._changed = asyncio.Event()
        self.is_closed = False

    def offer(self, update: Update) -> None:
        """Add to what waits for the stream."""
        if self._waiting is not None:
            events = [*self._waiting.events, *update.events]
            update = Update(
                update.snapshot,
                events if len(events) <= KEPT_EVENTS else (),
                update.progress or self._waiting.progress,
                [*self._waiting.results, *update.results][-KEPT_RESULTS:],
            )
        self._waiting = update
        self._changed.set()

    def close(self) -> None:
        """Have the stream end."""
        self.is_closed = True
        self._changed.set()

    async def next(self, timeout_seconds: float) -> Update | None:
        """What has happened since the last call; None when nothing did for so long, or at a
        close."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._changed.wait()
        except TimeoutError:
            return None
        self._changed.clear()
        update, self._waiting = self._waiting, None
        return update
