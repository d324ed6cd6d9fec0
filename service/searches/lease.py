"""Which searches this process drives: each is driven by one coordinator at a time."""

from __future__ import annotations

import logging
import math
import socket
import threading
from collections.abc import Callable, Mapping
from datetime import timedelta

from elasticnas.service.database import Database, now
from elasticnas.service.database_errors import DATABASE_ERRORS, is_transient, summary
from elasticnas.service.identity import new_id
from elasticnas.service.outage import Outage
from elasticnas.service.searches import coordinator_repository
from elasticnas.service.searches.tables import CoordinatorRow

log = logging.getLogger(__name__)

STOP_SECONDS = 1.0
"""How long a renewal in progress is waited for at the end: it is a statement on one row."""
GIVE_BACK_SECONDS = 3.0
"""How long giving the searches back may take: without, their lease expires soon after."""
NOT_GIVEN_BACK = "the searches could not be given back; their lease will expire: %s"


class Lease:
    """A coordinator's row, alive for ``seconds`` after each renewal, and the searches it claims.

    A search belongs to the coordinator that its row names. Another takes it over once the
    row of that coordinator has expired: by one conditional update, so that only one can. Each
    transaction on a search checks that the search still belongs to its coordinator, so one that
    was away for too long finds out before it does harm.

    ``exclusive`` says that there is no other coordinator (the queue is in this process's memory):
    every search is then taken at once, whichever process drove it before. The row is kept alive
    while ``gets_somewhere``: a coordinator that hangs must not keep its searches from another.
    """

    def __init__(
        self,
        database: Database,
        *,
        seconds: float,
        exclusive: bool,
        gets_somewhere: Callable[[], bool] = lambda: True,
    ) -> None:
        self.id = new_id("coordinator")
        self._database = database
        self._seconds = seconds
        self._exclusive = exclusive
        self._gets_somewhere = gets_somewhere
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
        # Looking up the host of a database that is gone may hang, and has no time limit.
        giving = threading.Thread(target=self._give_back, name="give-back", daemon=True)
        giving.start()
        giving.join(GIVE_BACK_SECONDS)
        if giving.is_alive():
            log.warning(NOT_GIVEN_BACK, "the database does not answer")

    def _give_back(self) -> None:
        try:
            with self._database.write() as session:
                coordinator_repository.leave(session, self.id)
        except DATABASE_ERRORS as error:
            log.warning(NOT_GIVEN_BACK, summary(error))

    def renew(self) -> None:
        """Live on for another ``seconds``; forget coordinators that died a day ago."""
        with self._database.write() as session:
            row = CoordinatorRow(id=self.id, host=socket.gethostname(), started_at=self._started_at)
            coordinator_repository.keep_alive(session, row, timedelta(seconds=self._seconds))

    def claim(self) -> Mapping[str, int]:
        """The searches to drive, the oldest first, with the revision of each.

        Searches without a coordinator are taken: a share of them, as each coordinator that is alive
        takes one.
        """
        with self._database.read() as session:
            free = coordinator_repository.free(session, self.id, exclusive=self._exclusive)
            if not free:
                return coordinator_repository.driven_by(session, self.id)
            alive = coordinator_repository.count_alive(session)
        share = len(free) if self._exclusive else math.ceil(len(free) / max(alive, 1))
        with self._database.write() as session:
            coordinator_repository.take(session, self.id, free[:share], exclusive=self._exclusive)
            return coordinator_repository.driven_by(session, self.id)

    def _renew_for_ever(self) -> None:
        outage = Outage(log, "renewing the lease on searches")
        while not self._stopping.wait(self._seconds / 3):
            if not self._gets_somewhere():
                outage.goes_on("the coordinator hangs: another may take its searches")
                continue
            try:
                self.renew()
            except Exception as error:  # without this thread, others would take the searches
                outage.goes_on(summary(error), fault=None if is_transient(error) else error)
            else:
                outage.is_over()
