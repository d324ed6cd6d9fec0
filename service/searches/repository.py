"""All SQL about searches."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from api_schemas.problems import Problem
from api_schemas.searches import SearchState, StopReason
from service.database import now
from service.http.paging import newest_page
from service.searches import evaluations
from service.searches.tables import SearchRow


def page(session: Session, *, limit: int, cursor: str | None) -> tuple[list[SearchRow], str | None]:
    """Searches, the newest first."""
    return newest_page(
        session, select(SearchRow), SearchRow.created_at, SearchRow.id, limit=limit, cursor=cursor
    )


def locked(session: Session, search_id: str) -> SearchRow | None:
    """The search, held by this transaction until it ends: changes to one search take turns."""
    return session.scalars(
        select(SearchRow).where(SearchRow.id == search_id).with_for_update()
    ).one_or_none()


def by_idempotency_key(session: Session, key: str) -> SearchRow | None:
    """The search that was created with this key."""
    return session.scalars(select(SearchRow).where(SearchRow.idempotency_key == key)).one_or_none()


def unfinished(session: Session) -> Sequence[str]:
    """The ids of queued and running searches, the oldest first."""
    return session.scalars(
        select(SearchRow.id)
        .where(SearchRow.state.in_((SearchState.QUEUED, SearchState.RUNNING)))
        .order_by(SearchRow.created_at, SearchRow.id)
    ).all()


def end(
    session: Session,
    row: SearchRow,
    state: SearchState,
    reason: StopReason,
    error: Problem | None = None,
) -> None:
    """Bring a search into a final state; evaluations still in flight are dropped."""
    evaluations.discard_unfinished(session, row.id)
    row.state = state
    row.stop_reason = reason
    row.error = None if error is None else error.model_dump(mode="json")
    row.running = 0
    row.finished_at = now()


def delete_with_results(session: Session, row: SearchRow) -> None:
    """Delete a search; the database deletes what belongs to it."""
    session.execute(delete(SearchRow).where(SearchRow.id == row.id))
