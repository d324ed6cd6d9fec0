"""All SQL about searches."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import JSON, ColumnElement, Text, case, delete, func, select, type_coerce
from sqlalchemy.orm import Session, load_only

from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.searches import Budget, SearchState, StopReason
from elasticnas.service.database import now
from elasticnas.service.http.paging import newest_page
from elasticnas.service.searches import evaluations, events
from elasticnas.service.searches.tables import SearchRow
from elasticnas.service.stored_json import readable_budget


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


def at_a_glance(session: Session, search_ids: Collection[str]) -> list[tuple[SearchRow, Budget]]:
    """State, counters and budgets of these searches, without the rest of what was asked for."""
    rows = session.execute(
        select(SearchRow, _budget(session))
        .where(SearchRow.id.in_(search_ids))
        .options(
            load_only(
                SearchRow.state,
                SearchRow.last_event,
                SearchRow.completed,
                SearchRow.given_up,
                SearchRow.failed,
                SearchRow.cached,
                SearchRow.running,
                SearchRow.hypervolume,
                SearchRow.front_size,
                SearchRow.elapsed_seconds,
                raiseload=True,
            )
        )
    )
    return [(row, Budget.model_validate(readable_budget(budget))) for row, budget in rows]


def _budget(session: Session) -> ColumnElement[Any]:
    """The budget of a search; the whole request where SQLite cannot look into it.

    An earlier version stored infinite bounds, which SQLite then calls malformed JSON.
    """
    budget = type_coerce(SearchRow.request["budget"], JSON())
    if session.get_bind().dialect.name != "sqlite":
        return budget
    is_valid = func.json_valid(type_coerce(SearchRow.request, Text())) == 1
    return case((is_valid, budget), else_=type_coerce(SearchRow.request, JSON()))


def by_idempotency_key(session: Session, key: str) -> SearchRow | None:
    """The search that was created with this key."""
    return session.scalars(select(SearchRow).where(SearchRow.idempotency_key == key)).one_or_none()


def front_revision(session: Session, search_id: str) -> tuple[str, int] | None:
    """The task of a search and the revision of its front, without reading the whole row."""
    found = session.execute(
        select(SearchRow.task, SearchRow.front_revision).where(SearchRow.id == search_id)
    ).one_or_none()
    return None if found is None else (found.task, found.front_revision)


def picture_revision(session: Session, search_id: str) -> tuple[int, int] | None:
    """What grows with every change of the front and with every result."""
    found = session.execute(
        select(SearchRow.front_revision, SearchRow.recorded).where(SearchRow.id == search_id)
    ).one_or_none()
    return None if found is None else (found.front_revision, found.recorded)


def end(
    session: Session,
    row: SearchRow,
    state: SearchState,
    reason: StopReason,
    error: Problem | None = None,
) -> None:
    """Bring a search into a final state; evaluations still in flight are dropped."""
    evaluations.discard_unfinished(session, row.id)
    row.stop_reason = reason
    row.error = None if error is None else error.model_dump(mode="json")
    row.running = 0
    row.coordinator_id = None
    row.finished_at = now()
    enter(session, row, state)


def enter(session: Session, row: SearchRow, state: SearchState) -> None:
    """Bring a search into a state, and write down that it happened."""
    row.state = state
    events.state_changed(session, row)


def delete_with_results(session: Session, row: SearchRow) -> None:
    """Delete a search; the database deletes what belongs to it."""
    session.execute(delete(SearchRow).where(SearchRow.id == row.id))
