"""Which searches this process drives: each is driven by one coordinator at a time."""

from __future__ import annotations

import logging
import math
import socket
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, delete, or_, select, update
from sqlalchemy.orm import Session

from elasticnas.api_schemas.searches import SearchState
from elasticnas.service import presence
from elasticnas.service.database import Database, clock, now
from elasticnas.service.database_errors import DATABASE_ERRORS, is_transient, summary
from elasticnas.service.identity import new_id
from elasticnas.service.outage import Outage
from elasticnas.service.searches.tables import CoordinatorRow, SearchRow

log = logging.getLogger(__name__)

STOP_SECONDS = 1.0
"""How long a renewal in progress is waited for at the end: it is a statement on one row."""

DRIVEN: ColumnElement[bool] = or_(
    SearchRow.state.in_((SearchState.QUEUED, SearchState.RUNNING)),
    # A paused search has a coordinator until the last of its running evaluations is recorded.
    and_(SearchRow.state == SearchState.PAUSED, SearchRow.running > 0),
)


class Lease:
    """A coordinator's row, alive for ``seconds`` after each renewal, and the searches it claims.

    A search belongs to the coordinator that its row names. Another takes it over once that one's
    row has expired: by one conditional update, so that only one can. Whoever writes to a search
    checks in the same transaction that it is still the owner, so a coordinator that was away for
    too long finds out before it does harm.

    ``exclusive`` says that there is no other coordinator (the queue is in this process's memory):
    every search is then taken at once, whoever drove it before.
    """

    def __init__(self, database: Database, *, seconds: float, exclusive: bool) -> None:
        self.id = new_id("coordinator")
        self._database = database
        self._seconds = seconds
        self._exclusive = exclusive
        self._started_at = now()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._renew_for_ever, name="lease", daemon=True)

    def start(self) -> None:
        """Announce this coordinator, and keep its row alive from now on."""
        self.renew()
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """True while the row is kept alive."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Give every search back, so that another coordinator need not wait."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)
        try:
            with self._database.write() as session:
                session.execute(
                    update(SearchRow)
                    .where(SearchRow.coordinator_id == self.id)
                    .values(coordinator_id=None)
                )
                session.execute(delete(CoordinatorRow).where(CoordinatorRow.id == self.id))
        except DATABASE_ERRORS as error:
            log.warning(
                "the searches could not be given back; their lease will expire: %s", summary(error)
            )

    def renew(self) -> None:
        """Live on for another ``seconds``; forget coordinators that died a day ago."""
        with self._database.write() as session:
            moment = clock(session)
            session.merge(
                CoordinatorRow(
                    id=self.id,
                    host=socket.gethostname(),
                    started_at=self._started_at,
                    expires_at=moment + timedelta(seconds=self._seconds),
                )
            )
            session.execute(
                delete(CoordinatorRow).where(CoordinatorRow.expires_at < moment - timedelta(days=1))
            )

    def claim(self) -> Mapping[str, int]:
        """The searches to drive, the oldest first, with the revision of each; those nobody drives
        are taken.

        Of those that are free, a share for each coordinator alive: the others take theirs.
        """
        with self._database.read() as session:
            free = self._free(session)
            if not free:
                return self._mine(session)
            alive = presence.coordinators(session)
        share = len(free) if self._exclusive else math.ceil(len(free) / max(alive, 1))
        with self._database.write() as session:
            # One that is locked, if only by a session whose client is gone, holds up no other.
            taken = (
                select(SearchRow.id)
                .where(SearchRow.id.in_(free[:share]), self._is_free(session))
                .with_for_update(skip_locked=True)
            )
            session.execute(
                update(SearchRow).where(SearchRow.id.in_(taken)).values(coordinator_id=self.id)
            )
            return self._mine(session)

    def _mine(self, session: Session) -> Mapping[str, int]:
        rows = session.execute(
            select(SearchRow.id, SearchRow.revision)
            .where(SearchRow.coordinator_id == self.id, DRIVEN)
            .order_by(SearchRow.created_at, SearchRow.id)
        )
        return {row.id: row.revision for row in rows}

    def _free(self, session: Session) -> Sequence[str]:
        return session.scalars(
            select(SearchRow.id)
            .where(DRIVEN, self._is_free(session))
            .order_by(SearchRow.created_at, SearchRow.id)
        ).all()

    def _is_free(self, session: Session) -> ColumnElement[bool]:
        if self._exclusive:
            return or_(SearchRow.coordinator_id.is_(None), SearchRow.coordinator_id != self.id)
        alive = select(CoordinatorRow.id).where(CoordinatorRow.expires_at >= clock(session))
        return or_(SearchRow.coordinator_id.is_(None), SearchRow.coordinator_id.not_in(alive))

    def _renew_for_ever(self) -> None:
        outage = Outage(log, "renewing the lease on searches")
        while not self._stopping.wait(self._seconds / 3):
            try:
                self.renew()
            except Exception as error:  # without this thread, others would take the searches
                outage.goes_on(summary(error), fault=None if is_transient(error) else error)
            else:
                outage.is_over()
