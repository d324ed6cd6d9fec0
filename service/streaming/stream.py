"""One client's stream of events."""

from __future__ import annotations

from collections.abc import AsyncIterator

from elasticnas.service.database_errors import DATABASE_ERRORS, is_transient
from elasticnas.service.streaming import wire
from elasticnas.service.streaming.feed import Snapshot
from elasticnas.service.streaming.watch import Update
from elasticnas.service.streaming.watcher import Watcher

KEEP_ALIVE_SECONDS = 15.0


async def stream(watcher: Watcher, topic: str, seen: Snapshot, after: int) -> AsyncIterator[bytes]:
    """The progress now, the events with numbers beyond ``after``, and what happens from now on.

    Results come as they are recorded, without those of before.

    Every kept event is sent once and in order: what did not come with an update (because the
    client was away, or is slow) is read from the database. Ends after the final state event, when
    the topic is deleted, and when the server shuts down.
    """
    told, sent = wire.progress(seen.progress), after
    yield wire.opening(after) + told
    with watcher.watch(topic) as watch:
        update: Update | None = Update(seen)
        while not watch.is_closed:
            if update is None:
                yield wire.KEEP_ALIVE
            else:
                if update.progress not in (None, told):
                    told = update.progress
                    yield told
                for batch in update.results:
                    yield batch
                for event in update.events:
                    if event.number == sent + 1:
                        yield event.text
                        sent = event.number
                while sent < update.snapshot.last_event and not watch.is_closed:
                    try:
                        missed = await watcher.history(topic, sent)
                    except DATABASE_ERRORS as error:
                        if not is_transient(error):
                            raise
                        return  # the client comes back for what it misses
                    if not missed:
                        return  # the topic was deleted meanwhile
                    for event in missed:
                        yield event.text
                    sent = missed[-1].number
                if update.snapshot.is_final and sent >= update.snapshot.last_event:
                    return
            update = await watch.next(KEEP_ALIVE_SECONDS)
