"""Looks at the database for all event streams of a process at once."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from elasticnas.service.database import Database
from elasticnas.service.database_errors import is_transient, summary
from elasticnas.service.outage import Outage
from elasticnas.service.principal import Principal
from elasticnas.service.streaming import wire
from elasticnas.service.streaming.feed import Feed, Results, Snapshot
from elasticnas.service.streaming.watch import Update, Watch
from elasticnas.service.streaming.wire import NumberedEvent

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
PROGRESS_SECONDS = 0.5
"""Progress is told at most this often; state and front changes at every tick."""
RETRY_SECONDS = 1.0
EVENTS_AT_ONCE = 500


@dataclass(frozen=True)
class Told:
    """What the watches of a topic have been told: the last event, and how many results."""

    last_event: int
    results: int


@dataclass(eq=False)
class _Topic:
    """What somebody watches, such as a search."""

    watches: set[Watch] = field(default_factory=set)
    seen: Snapshot | None = None
    results: int = 0
    """How many of its results have been told, from those on that were there at first."""
    told: bytes | None = None
    told_at: float = float("-inf")

    def take(
        self, snapshot: Snapshot, fresh: Sequence[NumberedEvent], results: Results | None
    ) -> None:
        """Tell all watches what is new, if anything is."""
        moved = self.seen is None or self.seen.last_event != snapshot.last_event
        self._take_results(snapshot, results)
        progress: bytes | None = wire.progress(snapshot.progress)
        due = time.monotonic() - self.told_at >= PROGRESS_SECONDS or snapshot.is_final
        if progress == self.told or not due:
            progress = None
        else:
            self.told, self.told_at = progress, time.monotonic()
        self.seen = snapshot
        batch = () if results is None else (wire.evaluations(results.event),)
        if moved or progress is not None or batch:
            for watch in self.watches:
                watch.offer(Update(snapshot, fresh, progress, batch))

    def _take_results(self, snapshot: Snapshot, results: Results | None) -> None:
        if self.seen is None:
            self.results = snapshot.results
        elif results is not None:
            self.results = results.after

    def close(self) -> None:
        """End all streams of this topic."""
        for watch in self.watches:
            watch.close()


class Watcher:
    """One query a tick for all streams of a ``feed``, and none when nobody listens.

    State and counters of every watched topic are read in one query. Where a topic's number of
    events has grown, a second query reads the new ones, and where results were recorded, one more
    reads those of a topic. All of it happens on one event loop; the queries run on a thread of its
    pool.
    """

    def __init__(self, database: Database, feed: Feed) -> None:
        self._database = database
        self.feed = feed
        self._topics: dict[str, _Topic] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._outage = Outage(log, "telling event streams what is new")

    def snapshot(self, topic_id: str, principal: Principal) -> Snapshot | None:
        """The topic as it is now; None where there is none that the ``principal`` may read."""
        with self._database.read() as session:
            return self.feed.snapshots(session, [topic_id], principal).get(topic_id)

    @contextmanager
    def watch(self, topic_id: str) -> Iterator[Watch]:
        """Be told of a topic from now on, until the end of the block."""
        topic = self._topics.setdefault(topic_id, _Topic())
        watch = Watch()
        topic.watches.add(watch)
        if topic.seen is not None:  # what changed while this stream was being opened
            watch.offer(Update(topic.seen, (), topic.told))
        if self._closed:
            watch.close()
        elif self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"{self.feed.noun}-watcher")
        try:
            yield watch
        finally:
            topic.watches.discard(watch)
            if not topic.watches and self._topics.get(topic_id) is topic:
                del self._topics[topic_id]

    async def history(self, topic_id: str, after: int) -> list[NumberedEvent]:
        """The next events of a topic with numbers beyond ``after``, from the database."""
        return await run_in_threadpool(self._read_history, topic_id, after)

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
            topic_id: None if topic.seen is None else Told(topic.seen.last_event, topic.results)
            for topic_id, topic in self._topics.items()
        }
        found, fresh, results = await run_in_threadpool(self._read, seen)
        for topic_id in seen:
            topic = self._topics.get(topic_id)
            if topic is None:
                continue
            if (snapshot := found.get(topic_id)) is None:
                topic.close()  # it was deleted
            else:
                topic.take(snapshot, fresh.get(topic_id, ()), results.get(topic_id))

    def _read(
        self, seen: Mapping[str, Told | None]
    ) -> tuple[dict[str, Snapshot], dict[str, list[NumberedEvent]], Mapping[str, Results]]:
        with self._database.read() as session:
            found = self.feed.snapshots(session, list(seen))
            known = {each: told for each, told in seen.items() if told and each in found}
            grown = {
                topic_id: told.last_event
                for topic_id, told in known.items()
                if found[topic_id].last_event > told.last_event
            }
            more = {
                topic_id: told.results
                for topic_id, told in known.items()
                if found[topic_id].results > told.results
            }
            results = self.feed.results(session, more) if more else {}
            return found, self._events(session, grown), results

    def _read_history(self, topic_id: str, after: int) -> list[NumberedEvent]:
        with self._database.read() as session:
            return self._events(session, {topic_id: after}).get(topic_id, [])

    def _events(self, session: Session, after: Mapping[str, int]) -> dict[str, list[NumberedEvent]]:
        rows = self.feed.since(session, after, limit=EVENTS_AT_ONCE)
        return {topic_id: [wire.numbered(row) for row in each] for topic_id, each in rows.items()}
