"""Drives searches: the one place where proposals meet results.

The database is the truth. Results are taken up and proposals placed in one transaction; messages
are sent after it commits. The memory of a search is rebuilt from its rows when the search is
claimed, when a transaction fails, and when a request has changed the search meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from sqlalchemy.orm import Session

from elasticnas.api_schemas.messages import EvaluateSubnets
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.searches import SearchCreate, SearchState, StopReason
from elasticnas.service.database import Database
from elasticnas.service.database_errors import DATABASE_ERRORS, is_disk_full, is_transient, summary
from elasticnas.service.http.problems import problem
from elasticnas.service.outage import Outage
from elasticnas.service.postgresql import concerns_one_transaction
from elasticnas.service.queue import Queue, QueueUnavailableError
from elasticnas.service.searches import dispatch_repository as dispatches
from elasticnas.service.searches import reports, repository, transaction
from elasticnas.service.searches.active import ActiveSearch, restore
from elasticnas.service.searches.conditions import conditions_of
from elasticnas.service.searches.crew import Crew
from elasticnas.service.searches.lease import Lease
from elasticnas.service.searches.sending import Sender
from elasticnas.service.searches.tables import SearchRow
from elasticnas.service.settings import ServiceSettings
from elasticnas.service.supernets.report_cache import ReportCache
from elasticnas.service.workers import repository as workers

log = logging.getLogger(__name__)

CLOCK_SECONDS = 5.0
"""How often the running time of a search that records nothing is written down."""
GLANCE_SECONDS = 1.0
"""How often the coordinator looks which workers are alive and whether the queue was wiped."""
ANSWERS_AT_ONCE = 64
"""Answers from the database are recorded in transactions of this size, in turn with results."""
HANGS_SECONDS = 90.0
"""A coordinator that got nowhere for so long leaves its searches to others: longer than it waits
for the database (`database_work_seconds`) and for the queue, one after the other."""
SLOW_SECONDS = 600.0
"""How long a statement of a search, or what is computed between two, may take at the second try."""

Change = Callable[[Session, SearchRow, ActiveSearch], None]


class Coordinator:
    """One thread, which ticks. An error in one search ends that search, and nothing else.

    ``errands`` are run every second or so while the queue can be reached: what is no search's, and
    must be noticed by somebody.
    """

    def __init__(
        self,
        database: Database,
        queue: Queue,
        reports: ReportCache,
        settings: ServiceSettings,
        *,
        exclusive: bool,
        errands: Callable[[], None] = lambda: None,
    ) -> None:
        self._errands = errands
        self._database = database.patient
        self._queue = queue
        self._reports = reports
        self._settings = settings
        self._lease = Lease(
            database,
            seconds=settings.coordinator_lease_seconds,
            exclusive=exclusive,
            gets_somewhere=lambda: self.stuck_seconds < HANGS_SECONDS,
        )
        self._lasting = not exclusive
        self._keep_seconds = min(CLOCK_SECONDS, settings.evaluation_lease_seconds)
        self._active: dict[str, ActiveSearch] = {}
        self._clocks: dict[str, float] = {}
        self._crew = Crew()
        self._generation: str | None = None
        """Of the queue; None while it cannot be reached."""
        self._generation_before: str | None = None
        self._errands_outage = Outage(log, "sending what is no search's")
        self._glanced = 0.0
        self.without_room: set[str] = set()
        """Searches that met a full disk; results that come meanwhile wait in the queue."""
        self._put_off: dict[str, float] = {}
        """Searches whose transaction failed while others may not, and until when they wait."""
        self._slow: dict[str, Outage] = {}
        self._database_outage = Outage(log, "driving searches")
        self._queue_outage = Outage(log, "sending work to the queue")
        self._sender = Sender(queue, self._queue_outage, settings.evaluation_lease_seconds)
        self._progressed = time.monotonic()
        self._allowed_until = 0.0
        """Until when a transaction in progress may take, if it is given more time than others."""
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coordinator", daemon=True)

    # -- lifecycle ---------------------------------------------------------------------------

    def start(self) -> None:
        """Take up every search that nobody drives, and begin to tick."""
        self._lease.start()
        self._thread.start()

    def begin_to_stop(self) -> None:
        """Begin nothing new; see `stop`."""
        self._stopping.set()
        self._wake.set()

    def stop(self, within: float | None = None) -> None:
        """Finish the transaction in progress, and leave the searches to others.

        What takes longer than ``within`` seconds is not waited for: the database rolls it back.
        """
        self.begin_to_stop()
        if self._thread.is_alive():
            self._thread.join(within)
        if self._thread.is_alive():
            log.warning("a transaction does not end: it is left to the database to roll it back")
        self._lease.stop()

    @property
    def is_alive(self) -> bool:
        """True while its threads live."""
        return self._thread.is_alive() and self._lease.is_alive

    @property
    def stuck_seconds(self) -> float:
        """How long ago a transaction or a whole tick succeeded last; 0 while one has more time."""
        if time.monotonic() < self._allowed_until:
            return 0.0
        return time.monotonic() - self._progressed

    @property
    def drives(self) -> bool:
        """True while searches go on, whether or not its row could be renewed lately."""
        return self.is_alive and self.stuck_seconds < HANGS_SECONDS

    def wake(self) -> None:
        """Look at the database now rather than at the next tick."""
        self._wake.set()

    # -- the tick ----------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopping.is_set():
            pause = self._settings.tick_seconds
            try:
                self.tick()
            except Exception as error:  # the thread must outlive what went wrong in one tick
                away = is_transient(error)
                pause = self._database_outage.goes_on(summary(error), fault=None if away else error)
            else:
                self._database_outage.is_over()
                self._progressed = time.monotonic()
                if any(active.has_answers for active in self._active.values()):
                    pause = 0.0
            self._wake.wait(pause)
            self._wake.clear()

    def tick(self) -> None:
        """Claim, start, continue, time, send and forget searches."""
        self._pause_for_room()
        mine = self._lease.claim()
        for search_id in set(self._active) - set(mine):
            self._forget(search_id)
        for kept in (self._put_off, self._slow):
            for search_id in set(kept) - set(mine):
                del kept[search_id]
        for search_id, revision in mine.items():
            active = self._active.get(search_id)
            if active is None or active.revision != revision:
                self._change(search_id, lambda *_: None)
        self._glance()
        with self._database.read() as session:
            reported = dispatches.waiting(session, list(self._active))
        for search_id, found in reported.items():
            self._change(search_id, partial(reports.take_up, reported=found))
            if any(outcome is None for _, _, outcome in found):
                self._release(search_id)
        for search_id in list(self._active):
            if search_id in self._active:
                self._attend(self._active[search_id])
        self._send()

    def _attend(self, active: ActiveSearch) -> None:
        """What time alone makes necessary for a search, and answers that need no worker."""
        if active.has_answers:
            count = min(len(active.answered), ANSWERS_AT_ONCE)
            answers = [active.answered.popleft() for _ in range(count)]
            self._change(active.id, partial(transaction.record, outcomes=answers))
        elif active.out_of_time and active.loop.stop_reason is None:
            active.loop.stop(StopReason.SECONDS)
            self._change(active.id, transaction.settle)
        elif active.to_verify and time.monotonic() - self._clocks.get(active.id, 0.0) > 1.0:
            self._clocks[active.id] = time.monotonic()
            self._change(active.id, transaction.settle)
        elif time.monotonic() - self._clocks.get(active.id, 0.0) > self._keep_seconds:
            self._clocks[active.id] = time.monotonic()
            self._change(active.id, self._keep)

    def _keep(self, session: Session, row: SearchRow, active: ActiveSearch) -> None:
        """Now and then: keep the clock, and send again what no worker seems to measure.

        Dramatiq hands the messages of a dead worker to another, and a wiped queue is noticed by
        its generation. This finds the messages that were lost in any other way.
        """
        transaction.settle(session, row, active)
        overdue = active.overdue(self._settings.evaluation_lease_seconds)
        abandoned = [n for n in overdue if f"{row.id}/{n}" not in self._crew.evaluating]
        able = self._crew.able(active.conditions.precision)
        if row.state == SearchState.RUNNING and abandoned and able:
            self._resend(session, row, active, numbers=abandoned)

    def _resend(
        self, session: Session, row: SearchRow, active: ActiveSearch, numbers: list[int]
    ) -> None:
        log.warning("search %s: the messages of %s are lost, sent again", row.id, numbers)
        transaction.resend(session, row, active, numbers)
        if row.state == SearchState.RUNNING:
            self._queue.release(row.id)

    def _glance(self) -> None:
        """Which workers are alive, and whether the queue still holds what was put into it."""
        if time.monotonic() - self._glanced < GLANCE_SECONDS:
            return
        self._glanced = time.monotonic()
        silence = timedelta(seconds=self._settings.worker_silence_seconds)
        with self._database.read() as session:
            self._crew = Crew.look(session, silence)
        try:
            before, self._generation = self._generation_before, self._queue.generation()
        except QueueUnavailableError as error:
            self._generation = None
            self._queue_outage.goes_on(error)
            return
        self._queue_outage.is_over()
        self._generation_before = self._generation
        if before not in (None, self._generation):
            log.warning("the queue has lost its messages: what it held is sent again")
        self._run_errands()
        for active in list(self._active.values()):
            if lost := active.lost(self._generation):
                self._change(active.id, partial(self._resend, numbers=lost))

    def _run_errands(self) -> None:
        """What fails here is tried again at the next glance, and holds up no search."""
        try:
            self._errands()
        except Exception as error:
            known = isinstance(error, QueueUnavailableError) or is_transient(error)
            self._errands_outage.goes_on(summary(error), fault=None if known else error)
        else:
            self._errands_outage.is_over()

    # -- one transaction on one search -------------------------------------------------------

    def _change(self, search_id: str, change: Change) -> bool:
        """Apply ``change`` to a search in one transaction; False when that must wait.

        A search that is over, or that another coordinator drives by now, is forgotten.

        Raises:
            DATABASE_ERRORS: the database is away, for this search and for every other.
        """
        if time.monotonic() < self._put_off.get(search_id, 0.0):
            return False
        restored = False
        patience = SLOW_SECONDS if search_id in self._slow else None
        if patience is not None:
            self._allowed_until = time.monotonic() + patience
        try:
            with self._database.write(patience) as session:
                row = repository.locked(session, search_id)
                if row is None or row.coordinator_id != self._lease.id:
                    self._forget(search_id)
                    return True
                if SearchState(row.state).is_final:
                    self._forget(search_id)
                    return True
                active = self._active.get(search_id)
                if active is None or active.revision != row.revision:
                    supernet = self._reports.get(session, row.supernet_id)
                    if row.precision is None:
                        row.precision = self._precision_for(session, row)
                        if row.precision is None:
                            return False
                    row.conditions_key = conditions_of(row).key
                    active = restore(session, row, supernet, before=active)
                    transaction.begin(session, row, active)
                    restored = True
                if not SearchState(row.state).is_final:
                    change(session, row, active)
                state = SearchState(row.state)
                changed = active.revision != row.revision
        except Exception as error:
            self._forget(search_id)
            if isinstance(error, DATABASE_ERRORS) and is_transient(error):
                self._put_off_for(error, search_id)
                return False
            log.exception("search %s failed", search_id)
            self._fail(search_id)
        else:
            self._progressed = time.monotonic()
            self._put_off.pop(search_id, None)
            if (slow := self._slow.pop(search_id, None)) is not None:
                slow.is_over()
            if state.is_final or changed:
                self._forget(search_id)
            else:
                self._active[search_id] = active
            if state in (SearchState.FAILED, SearchState.CANCELLED):
                self._queue.halt(search_id, "ended")
            elif state == SearchState.PAUSED and changed:
                self._queue.halt(search_id, "paused")
            elif restored:
                self._release(search_id)
        finally:
            self._allowed_until = 0.0
        return True

    def _precision_for(self, session: Session, row: SearchRow) -> Precision | None:
        """What a search that starts is measured in, from its first evaluation to its last.

        None: one that an earlier version began has results in a precision that was not written
        down, and must wait for a worker that says its own, which is most probably that one.
        """
        asked = SearchCreate.model_validate(row.request).precision
        if asked != "auto":
            return asked
        silence = timedelta(seconds=self._settings.worker_silence_seconds)
        return workers.preferred_precision(session, silence, known=row.recorded > 0)

    def _release(self, search_id: str) -> None:
        """Let workers evaluate a search that runs, also where they were told that it is halted.

        A request tells them so after its transaction, and the next request may have resumed the
        search by then.
        """
        active = self._active.get(search_id)
        if active is not None and active.state == SearchState.RUNNING:
            self._queue.release(search_id)

    # -- sending -----------------------------------------------------------------------------

    def _send(self) -> None:
        if self._generation is None:
            return
        sent = self._sender.evaluations(self._active, self._crew, self._generation)
        if sent and self._lasting:
            self._note_sent(sent, self._generation)
        for active in self._active.values():
            if active.to_verify and active.state == SearchState.RUNNING:
                self._sender.verifications(active, self._crew, self._generation)

    def _note_sent(self, messages: list[EvaluateSubnets], generation: str) -> None:
        """So that a coordinator that takes over need not send them again."""
        with self._database.write() as session:
            for message in messages:
                numbers = [item.number for item in message.subnets]
                repository.locked(session, message.search_id)
                dispatches.mark_sent(session, message.search_id, numbers, generation)

    # -- when things go wrong ----------------------------------------------------------------

    def _put_off_for(self, error: Exception, search_id: str) -> None:
        """Take up the search again when it may succeed; the others go on meanwhile if they can."""
        if is_disk_full(error):
            if search_id not in self.without_room:
                self.without_room.add(search_id)
                log.error("search %s: the database's disk is full", search_id)
        elif concerns_one_transaction(error):
            self._progressed = time.monotonic()  # the database has answered: others may go on
            slow = self._slow.setdefault(search_id, Outage(log, f"search {search_id}"))
            self._put_off[search_id] = time.monotonic() + slow.goes_on(summary(error))
        else:
            raise error

    def _pause_for_room(self) -> None:
        """Pause the searches that met a full disk, as soon as even that can be written down."""
        reason = problem("storage-full", "the database's disk was full; make room, then resume")
        for search_id in list(self.without_room):
            if self._change(search_id, partial(transaction.pause, reason=reason)):
                self.without_room.discard(search_id)

    def _forget(self, search_id: str) -> None:
        self._active.pop(search_id, None)
        self._clocks.pop(search_id, None)
        self._sender.forget(search_id)

    def _fail(self, search_id: str) -> None:
        error = problem("search-error", "the coordinator met an error; the server's log has it")
        with self._database.write() as session:
            row = repository.locked(session, search_id)
            if row is not None and not SearchState(row.state).is_final:
                repository.end(session, row, SearchState.FAILED, StopReason.ERROR, error)
        self._queue.halt(search_id, "ended")
