"""All SQL about the rows of searches.

Evaluations, front, events and exports belong to a search: a request finds the search first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Select,
    Text,
    case,
    delete,
    func,
    select,
    type_coerce,
    update,
)
from sqlalchemy.orm import Session, load_only

from elasticnas.api_schemas.listing import SearchSort
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.searches import Budget, SearchState, StopReason
from elasticnas.service import list_repository as listing
from elasticnas.service import repository
from elasticnas.service.database import now
from elasticnas.service.http.problems import not_found
from elasticnas.service.overview.events import DELETED
from elasticnas.service.principal import Principal
from elasticnas.service.searches import dispatch_repository as dispatches
from elasticnas.service.searches import events
from elasticnas.service.searches.tables import SearchRow
from elasticnas.service.stored_json import readable_budget


def found(
    session: Session, principal: Principal, search_id: str, *, lock: bool = False
) -> SearchRow:
    """One of the principal's searches, or the problem of `repository.found`."""
    return repository.found(session, principal, SearchRow, search_id, lock=lock)


@dataclass(frozen=True)
class Wanted:
    """Which searches a list is of: those for which everything holds that is not None."""

    text: str | None = None
    tag: str | None = None
    states: Sequence[SearchState] | None = None
    supernet_id: str | None = None
    dataset_id: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What must hold of a row."""
        row = SearchRow
        return [
            *listing.holds_text(self.text, row.name, row.id, row.notes, row.tags),
            *listing.has_tag(row, self.tag),
            *listing.is_one_of(row.state, self.states),
            *listing.is_one_of(row.supernet_id, self.supernet_id and [self.supernet_id]),
            *listing.is_one_of(row.dataset_id, self.dataset_id and [self.dataset_id]),
        ]


def page(
    session: Session,
    principal: Principal,
    wanted: Wanted,
    *,
    sort: SearchSort,
    limit: int,
    cursor: str | None,
) -> tuple[list[SearchRow], str | None]:
    """Searches in the order asked for."""
    columns = {"name": SearchRow.name, "hypervolume": SearchRow.hypervolume}
    order = listing.order_of(SearchRow, sort, columns)
    conditions = wanted.conditions()
    return listing.page(
        session, principal, SearchRow, conditions, order, limit=limit, cursor=cursor
    )


def add(session: Session, row: SearchRow) -> None:
    """Queue a search."""
    session.add(row)
    events.tell_owner(session, row)


def raise_revision(
    session: Session, principal: Principal, search_id: str, states: Collection[SearchState]
) -> bool:
    """Count a change that a request makes; False, and no change, where the state is another."""
    changed = session.execute(
        update(SearchRow)
        .where(
            principal.may_read(SearchRow), SearchRow.id == search_id, SearchRow.state.in_(states)
        )
        .values(revision=SearchRow.revision + 1)
        .returning(SearchRow.id)
    )
    return changed.one_or_none() is not None


def by_id(session: Session, search_id: str) -> SearchRow:
    """A search of any owner, which an export refers to."""
    return session.get_one(SearchRow, search_id)


def locked(session: Session, search_id: str) -> SearchRow | None:
    """The search, held by this transaction until it ends: changes to one search take turns."""
    return session.scalars(
        select(SearchRow).where(SearchRow.id == search_id).with_for_update()
    ).one_or_none()


def at_a_glance(
    session: Session, search_ids: Collection[str], principal: Principal | None
) -> list[tuple[SearchRow, Budget]]:
    """State, counters and budgets of these searches, without the rest of what was asked for.

    None reads the searches of all owners.
    """
    searches = select(SearchRow).where(SearchRow.id.in_(search_ids))
    if principal is not None:
        searches = searches.where(principal.may_read(SearchRow))
    return _glanced(session, searches)


def _glanced(session: Session, searches: Select[Any]) -> list[tuple[SearchRow, Budget]]:
    rows = session.execute(
        searches.add_columns(_budget(session)).options(
            load_only(
                SearchRow.state,
                SearchRow.last_event,
                SearchRow.recorded,
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


def queued(session: Session) -> list[str]:
    """The searches that have not begun, of all owners, the next one first."""
    query = select(SearchRow.id).where(SearchRow.state == SearchState.QUEUED)
    return list(session.scalars(query.order_by(SearchRow.created_at, SearchRow.id)))


def tasks(session: Session, search_ids: Collection[str]) -> dict[str, str]:
    """The task of each of these searches, of any owner."""
    rows = session.execute(select(SearchRow.id, SearchRow.task).where(SearchRow.id.in_(search_ids)))
    return {row.id: row.task for row in rows}


def underway(
    session: Session, principal: Principal, *, limit: int
) -> list[tuple[SearchRow, Budget]]:
    """The principal's searches that have not ended as `at_a_glance`, the newest first."""
    query = (
        repository.readable(principal, SearchRow)
        .where(SearchRow.state.in_(SearchState.unfinished()))
        .order_by(SearchRow.created_at.desc(), SearchRow.id.desc())
        .limit(limit)
    )
    return _glanced(session, query)


def _budget(session: Session) -> ColumnElement[Any]:
    """The budget of a search; the whole request where SQLite cannot look into it.

    An earlier version stored infinite bounds, which SQLite then calls malformed JSON.
    """
    budget = type_coerce(SearchRow.request["budget"], JSON())
    if session.get_bind().dialect.name != "sqlite":
        return budget
    is_valid = func.json_valid(type_coerce(SearchRow.request, Text())) == 1
    return case((is_valid, budget), else_=type_coerce(SearchRow.request, JSON()))


def front_revision(session: Session, principal: Principal, search_id: str) -> tuple[str, int]:
    """The task of a search and the revision of its front, without reading the whole row; or 404."""
    task, revision = _columns(
        session, principal, search_id, SearchRow.task, SearchRow.front_revision
    )
    return task, revision


def picture_revision(
    session: Session, principal: Principal, search_id: str
) -> tuple[int, int, str | None]:
    """What grows with every change of the front and with every result, and the name; or 404."""
    row = SearchRow
    front, results, name = _columns(
        session, principal, search_id, row.front_revision, row.recorded, row.name
    )
    return front, results, name


def asked(session: Session, principal: Principal, search_id: str) -> dict[str, Any]:
    """The request of a search as it was given, or as it was resolved by an earlier version."""
    given, resolved = _columns(session, principal, search_id, SearchRow.asked, SearchRow.request)
    return dict(resolved if given is None else given)


def _columns(session: Session, principal: Principal, search_id: str, *columns: Any) -> Any:
    query = (
        repository.readable(principal, SearchRow)
        .with_only_columns(*columns)
        .where(SearchRow.id == search_id)
    )
    if (row := session.execute(query).one_or_none()) is None:
        raise not_found("search", search_id)
    return row


def end(
    session: Session,
    row: SearchRow,
    state: SearchState,
    reason: StopReason,
    error: Problem | None = None,
) -> None:
    """Bring a search into a final state; evaluations still in flight are dropped."""
    dispatches.discard_unfinished(session, row.id)
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
    events.tell_owner(session, row, DELETED)
    session.execute(delete(SearchRow).where(SearchRow.id == row.id))
