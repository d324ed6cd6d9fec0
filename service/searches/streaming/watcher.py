"""Looks at the database for all event streams of a process at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from elasticnas.service.database import Database
from elasticnas.service.database_errors import is_transient, summary
from elasticnas.service.outage import Outage
from elasticnas.service.searches import event_repository as events
from elasticnas.service.searches.streaming import wire
from elasticnas.service.searches.streaming.snapshot import Snapshot, snapshots
from elasticnas.service.searches.streaming.watch import Update, Watch
from elasticnas.service.searches.streaming.wire import NumberedEvent

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
PROGRESS_SECONDS = 0.5
"""Progress is told at most this often; state and front changes at every tick."""
RETRY_SECONDS = 1.0
EVENTS_AT_ONCE = 500


@dataclass(eq=False)
class _Topic:
    """A search that somebody watches."""

    watches: set[Watch] = field(default_factory=set)
    seen: Snapshot | None = None
    told: bytes | None = None
    told_at: float = float("-inf")

    def take(self, snapshot: Snapshot, fresh: Sequence[NumberedEvent]) -> None:
        """Tell all watches what is new, if anything is."""
        moved = self.seen is None or self.seen.last_event != snapshot.last_event
        progress: bytes | None = wire.progress(snapshot.progress)
        due = time.monotonic() - self.told_at >= PROGRESS_SECONDS or snapshot.state.is_final
        if progress == self.told or not due:
            progress = None
        else:
            self.told, self.told_at = progress, time.monotonic()
        self.seen = snapshot
        if moved or progress is not None:
            for watch in self.watches:
                watch.offer(Update(snapshot, fresh, progress))

    def close(self) -> None:
        """End all streams of this search."""
        for watch in self.watches:
            watch.close()


class SearchWatcher:
    """One query a tick for all streams, and none when nobody listens.

    State and counters of every watched search are read in one query. Where a search's number of
    events has grown, a second query reads the new ones. All of it happens on one event loop; the
    queries run on a thread of its pool.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._topics: dict[str, _Topic] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._outage = Outage(log, "telling event streams what is new")

    @contextmanager
    def watch(self, search_id: str) -> Iterator[Watch]:
        """Be told of a search from now on, until the end of the block."""
        topic = self._topics.setdefault(search_id, _Topic())
        watch = Watch()
        topic.watches.add(watch)
        if topic.seen is not None:  # what changed while this stream was being opened
            watch.offer(Update(topic.seen, (), topic.told))
        if self._closed:
            watch.close()
        elif self._task is None:
            self._task = asyncio.create_task(self._run(), name="search-watcher")
        try:
            yield watch
        finally:
            topic.watches.discard(watch)
            if not topic.watches and self._topics.get(search_id) is topic:
                del self._topics[search_id]

    async def history(self, search_id: str, after: int) -> list[NumberedEvent]:
        """The next events of a search with numbers beyond ``after``, from the database."""
        return await run_in_threadpool(self._read_history, search_id, after)

    def close(self) -> None:
        """End all streams, and every new one at once: this server is going away."""
        self._closed = True
        for topic in self._topics.values():
            topic.close()

    @property
    def is_idle(self) -> bool:
        """True while nobody listens, and nothing runs."""
        return self._task is None and not self._topics

    async def _run(self) -> None:
        try:
            while self._topics and not self._closed:
                pause = TICK_SECONDS
                try:
                    await self._tick()
                except Exception as error:  # the streams must outlive what goes wrong in one tick
                    away = is_transient(error)
                    self._outage.goes_on(summary(error), fault=None if away else error)
                    pause = RETRY_SECONDS
                else:
                    self._outage.is_over()
                await asyncio.sleep(pause)
        finally:
            self._task = None

    async def _tick(self) -> None:
        seen = {
            search_id: None if topic.seen is None else topic.seen.last_event
            for search_id, topic in self._topics.items()
        }
        found, fresh = await run_in_threadpool(self._read, seen)
        for search_id in seen:
            topic = self._topics.get(search_id)
            if topic is None:
                continue
            if (snapshot := found.get(search_id)) is None:
                topic.close()  # the search was deleted
            else:
                topic.take(snapshot, fresh.get(search_id, ()))

    def _read(
        self, seen: Mapping[str, int | None]
    ) -> tuple[dict[str, Snapshot], dict[str, list[NumberedEvent]]]:
        fresh: dict[str, list[NumberedEvent]] = {}
        with self._database.read() as session:
            found = snapshots(session, list(seen))
            grown = {
                search_id: known
                for search_id, known in seen.items()
                if known is not None and search_id in found and found[search_id].last_event > known
            }
            for row in events.since(session, grown, limit=EVENTS_AT_ONCE):
                fresh.setdefault(row.search_id, []).append(wire.numbered(row))
        return found, fresh

    def _read_history(self, search_id: str, after: int) -> list[NumberedEvent]:
        with self._database.read() as session:
            rows = events.after(session, search_id, after, limit=EVENTS_AT_ONCE)
            return [wire.numbered(row) for row in rows]
