"""Which processes are there, by the rows that they keep alive; the clock is the database's."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from api_schemas.searches import ProcessKind
from service.database import clock
from service.searches.tables import CoordinatorRow
from service.workers import repository as workers

NO_COORDINATOR = (
    "no coordinator is running, so no search goes on and nobody hears what workers report: start "
    "`elasticnas coordinate`"
)
NO_WORKER = "no worker is running: start `elasticnas worker`"


def coordinators(session: Session) -> int:
    """How many coordinators are alive."""
    return session.scalars(
        select(func.count())
        .select_from(CoordinatorRow)
        .where(CoordinatorRow.expires_at >= clock(session))
    ).one()


def missing(session: Session, silence_seconds: float) -> ProcessKind | None:
    """The kind of process without which no search goes on, if there is none of it.

    Without a coordinator nobody hears workers, so that nothing is known of them.
    """
    if not coordinators(session):
        return ProcessKind.COORDINATOR
    if not workers.alive(session, timedelta(seconds=silence_seconds)):
        return ProcessKind.WORKER
    return None
