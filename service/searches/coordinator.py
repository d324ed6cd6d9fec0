"""Drives every search of a database: the one place where proposals meet results.

The database is the truth. Results are recorded and proposals placed in one transaction; messages
are sent after it commits. Whatever is held in memory is rebuilt from the rows when the process
starts, and whenever a transaction fails.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

import dramatiq.errors
import sqlalchemy.exc
from sqlalchemy.orm import Session

from api_schemas.messages import SubnetsEvaluated, SubnetsStarted
from api_schemas.searches import SearchState, StopReason
from service.database import Database, now
from service.http.problems import problem
from service.queue import Queue
from service.searches import evaluations, recording, repository
from service.searches.active import ActiveSearch, Outcome, restore
from service.searches.tables import SearchRow
from service.supernets.known import KnownSupernets

log = logging.getLogger(__name__)

CLOCK_SECONDS = 1.0
"""How often a search's running time is written down."""
ANSWERS_AT_ONCE = 64
"""Answers from the database are recorded in transactions of this size, in turn with results."""
BREATH_SECONDS = 0.001
"""Between two such transactions, so that results get their turn at the lock."""
TRANSIENT = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.TimeoutError)
"""A database that is locked, full or away: nothing was committed, the rows are as they were."""


class Coordinator:
    """One thread that ticks; results come in on the queue's thread. A lock makes them take turns.

    An error in one search ends that search, and nothing else.
    """

    def __init__(
        self,
        database: Database,
        queue: Queue,
        known: KnownSupernets,
        *,
        tick_seconds: float,
        lease_seconds: float,
    ) -> None:
        self._database = database
        self._queue = queue
        self._known = known
        self._tick_seconds = tick_seconds
        self._lease_seconds = lease_seconds
        self._active: dict[str, ActiveSearch] = {}
        self._clocks: dict[str, float] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coordinator", daemon=True)

    # -- lifecycle ---------------------------------------------------------------------------

    def start(self) -> None:
        """Take up every unfinished search, and begin to tick."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the transaction in progress; everything else is in the database."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        """True while searches are being driven."""
        return self._thread.is_alive()

    def wake(self) -> None:
        """Look at the database now rather than at the next tick."""
        self._wake.set()

    # -- results, on the queue's thread ------------------------------------------------------

    def subnets_started(self, result: SubnetsStarted) -> None:
        """A worker has taken some evaluations."""

        def mark(session: Session, row: SearchRow, _active: ActiveSearch) -> None:
            evaluations.mark_started(session, row.id, result.numbers, result.worker, now())
            row.running = evaluations.count_running(session, row.id)

        with self._lock:
            self._change(result.search_id, mark)

    def subnets_evaluated(self, result: SubnetsEvaluated) -> None:
        """A worker has finished some evaluations."""
        outcomes = [
            Outcome(
                number=outcome.number,
                metrics=outcome.metrics,
                problem=outcome.problem,
                worker=result.worker,
                cached=False,
                started_at=outcome.started_at,
                duration_seconds=outcome.duration_seconds,
            )
            for outcome in result.outcomes
        ]
        with self._lock:
            self._change(result.search_id, partial(recording.record, outcomes=outcomes))

    # -- the tick ----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            pause = self._tick_seconds
            try:
                with self._lock:
                    self.tick()
                    if any(active.answered for active in self._active.values()):
                        pause = BREATH_SECONDS
            except Exception:  # the thread must outlive whatever went wrong in one tick
                log.exception("the coordinator's tick failed")
            self._wake.wait(pause)
            self._wake.clear()

    def tick(self) -> None:
        """Start, continue, time, re-send and forget searches. Called with the lock held."""
        with self._database.read() as session:
            unfinished = repository.unfinished(session)
        for search_id in set(self._active) - set(unfinished):
            self._forget(search_id)
        for search_id in unfinished:
            if search_id not in self._active:
                self._change(search_id, lambda *_: None)
            if search_id in self._active:
                self._attend(self._active[search_id])

    def _attend(self, active: ActiveSearch) -> None:
        """What time alone makes necessary for a running search."""
        if active.answered:
            count = min(len(active.answered), ANSWERS_AT_ONCE)
            answers = [active.answered.popleft() for _ in range(count)]
            self._change(active.id, partial(recording.record, outcomes=answers))
        elif active.out_of_time and active.loop.stop_reason is None:
            active.loop.stop(StopReason.SECONDS)
            self._change(active.id, recording.settle)
        elif overdue := active.overdue(self._lease_seconds):
            self._change(active.id, partial(self._resend, numbers=overdue))
        elif time.monotonic() - self._clocks.get(active.id, 0.0) > CLOCK_SECONDS:
            self._clocks[active.id] = time.monotonic()
            self._change(active.id, recording.settle)
        else:
            self._send(active)  # what the queue would not take before

    def _resend(
        self, session: Session, row: SearchRow, active: ActiveSearch, numbers: list[int]
    ) -> None:
        log.warning("search %s: no result of %s in time, sent again", row.id, numbers)
        evaluations.mark_resent(session, row.id, numbers, now())
        for number in numbers:
            active.in_flight[number].attempt += 1
            active.in_flight[number].sent = None

    # -- one transaction on one search -------------------------------------------------------

    def _change(
        self, search_id: str, change: Callable[[Session, SearchRow, ActiveSearch], None]
    ) -> None:
        """Apply ``change`` to an unfinished search in one transaction, then send what it placed.

        Results of a search that is over, cancelled or deleted are dropped.
        """
        try:
            with self._database.write() as session:
                row = repository.locked(session, search_id)
                if row is None or row.state not in (SearchState.QUEUED, SearchState.RUNNING):
                    self._forget(search_id)
                    return
                active = self._active.get(search_id)
                if active is None:
                    active = restore(session, row, self._known.get(session, row.supernet_id))
                    recording.begin(session, row, active)
                    session.flush()
                if row.state == SearchState.RUNNING:
                    change(session, row, active)
                over = row.state != SearchState.RUNNING
        except TRANSIENT:
            log.exception("search %s: the database failed, it will be taken up again", search_id)
            self._forget(search_id)
        except Exception:
            log.exception("search %s failed", search_id)
            self._forget(search_id)
            self._fail(search_id)
        else:
            if over:
                self._forget(search_id)
            else:
                self._active[search_id] = active
                self._send(active)
                if active.answered:
                    self._wake.set()

    def _send(self, active: ActiveSearch) -> None:
        """Send what is unsent; what the queue does not take stays unsent until the next tick."""
        try:
            for message in active.messages():
                self._queue.send(message)
                for item in message.subnets:
                    active.in_flight[item.number].sent = time.monotonic()
        except dramatiq.errors.ConnectionError:
            log.warning("search %s: the queue cannot be reached", active.id, exc_info=True)

    def _forget(self, search_id: str) -> None:
        self._active.pop(search_id, None)
        self._clocks.pop(search_id, None)

    def _fail(self, search_id: str) -> None:
        error = problem("search-error", "the coordinator met an error; the server's log has it")
        try:
            with self._database.write() as session:
                row = repository.locked(session, search_id)
                if row is not None and not SearchState(row.state).is_final:
                    repository.end(session, row, SearchState.FAILED, StopReason.ERROR, error)
        except TRANSIENT:
            log.exception("search %s: its failure could not be written down", search_id)
