"""Which processes are there, by the rows that they keep alive; the clock is the database's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from elasticnas.api_schemas.precision import Precision
from elasticnas.service.searches.coordinator_repository import count_alive
from elasticnas.service.workers import repository as workers
from elasticnas.service.workers.tables import WorkerRow

NO_COORDINATOR = (
    "no coordinator is running, so no search goes on and nobody hears what workers report: start "
    "`elasticnas coordinate`"
)


@dataclass(frozen=True)
class Presence:
    """How many coordinators are alive, and which workers.

    Without a coordinator nobody hears workers, so that nothing is known of them.
    """

    coordinators: int
    workers: Sequence[WorkerRow]
    loads: bool
    """Whether a worker inside this process is loading."""
    drives: bool | None = None
    """Whether the coordinator inside this process drives searches; None: there is none inside."""

    def lacking(self, precision: Precision | None = None, *, queue: str) -> str | None:
        """What must be there before a message of a ``queue`` is taken, in words; None when nothing
        lacks.

        Measurements need a worker of their ``precision``.
        """
        if not self.coordinators and self.drives is False:
            return "a coordinator: the one inside this server hangs; start the server anew"
        if not self.coordinators:
            return "a coordinator: none is alive; start `elasticnas coordinate`"
        if not self.workers and self.loads:
            return "the worker inside the server, which is loading"
        if not self.workers:
            return "a worker: none is alive; start `elasticnas worker`"
        if not (takers := workers.taking(self.workers, queue)):
            return (
                f"a worker that takes {queue}: those that are alive do not, or are at a step of a "
                f"job; start one with `elasticnas worker --take {queue}`"
            )
        if precision is None or workers.able(takers, precision):
            return None
        if all(worker.precisions is None for worker in self.workers):
            return (
                "a worker of this version: those that are alive do not say what they measure in; "
                "replace them"
            )
        return (
            f"a worker that measures in {precision}: none of the {len(self.workers)} that are "
            "alive does; start one on a device for it, or start the search anew with another "
            "precision"
        )


def look(session: Session, silence: timedelta, *, loads: bool, drives: bool | None) -> Presence:
    """Which processes are there; a worker not heard from for as long as ``silence`` is gone.

    ``loads`` says that a worker inside this process is loading. A coordinator inside it that
    ``drives`` counts, also where its row has expired because the database was away.
    """
    coordinators = max(count_alive(session), int(drives is True))
    return Presence(coordinators, workers.alive(session, silence), loads, drives)
