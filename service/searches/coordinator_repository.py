"""All SQL about coordinators, and about which of them drives a search."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from elasticnas.api_schemas.searches import SearchState
from elasticnas.service.database import clock
from elasticnas.service.searches.tables import CoordinatorRow, SearchRow

FORGOTTEN = timedelta(days=1)
"""How long the row of a coordinator that died stays."""

DRIVEN: ColumnElement[bool] = or_(
    SearchRow.state.in_((SearchState.QUEUED, SearchState.RUNNING)),
    # A paused search has a coordinator until the last of its running evaluations is recorded.
    and_(SearchRow.state == SearchState.PAUSED, SearchRow.running > 0),
)


def keep_alive(session: Session, row: CoordinatorRow, lease: timedelta) -> None:
    """Let a coordinator live on for this long; forget the ones that died a day ago."""
    moment = clock(session)
    row.expires_at = moment + lease
    session.merge(row)
    session.execute(delete(CoordinatorRow).where(CoordinatorRow.expires_at < moment - FORGOTTEN))


def count_alive(session: Session) -> int:
    """How many coordinators are alive."""
    return session.scalars(
        select(func.count())
        .select_from(CoordinatorRow)
        .where(CoordinatorRow.expires_at >= clock(session))
    ).one()


def leave(session: Session, coordinator_id: str) -> None:
    """Take a coordinator off, and give its searches back."""
    session.execute(
        update(SearchRow)
        .where(SearchRow.coordinator_id == coordinator_id)
        .values(coordinator_id=None)
    )
    session.execute(delete(CoordinatorRow).where(CoordinatorRow.id == coordinator_id))


def driven_by(session: Session, coordinator_id: str) -> Mapping[str, int]:
    """The searches that a coordinator drives, the oldest first, with the revision of each."""
    rows = session.execute(
        select(SearchRow.id, SearchRow.revision)
        .where(SearchRow.coordinator_id == coordinator_id, DRIVEN)
        .order_by(SearchRow.created_at, SearchRow.id)
    )
    return {row.id: row.revision for row in rows}


def free(session: Session, coordinator_id: str, *, exclusive: bool) -> Sequence[str]:
    """The searches that this coordinator may take, the oldest first.

    ``exclusive`` says that there is no other: it may take all that are not its own.
    """
    return session.scalars(
        select(SearchRow.id)
        .where(DRIVEN, _is_free(session, coordinator_id, exclusive=exclusive))
        .order_by(SearchRow.created_at, SearchRow.id)
    ).all()


def take(
    session: Session, coordinator_id: str, search_ids: Collection[str], *, exclusive: bool
) -> None:
    """Have a coordinator drive these searches, without the ones that another took meanwhile.

    One that is locked, if only by a session whose client is gone, holds up no other.
    """
    taken = (
        select(SearchRow.id)
        .where(
            SearchRow.id.in_(search_ids),
            _is_free(session, coordinator_id, exclusive=exclusive),
        )
        .with_for_update(skip_locked=True)
    )
    session.execute(
        update(SearchRow).where(SearchRow.id.in_(taken)).values(coordinator_id=coordinator_id)
    )


def _is_free(session: Session, coordinator_id: str, *, exclusive: bool) -> ColumnElement[bool]:
    if exclusive:
        return or_(SearchRow.coordinator_id.is_(None), SearchRow.coordinator_id != coordinator_id)
    alive = select(CoordinatorRow.id).where(CoordinatorRow.expires_at >= clock(session))
    return or_(SearchRow.coordinator_id.is_(None), SearchRow.coordinator_id.not_in(alive))
