"""All SQL about super-networks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, select, union, update
from sqlalchemy.orm import Session

from elasticnas.api_schemas.listing import Sort
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.supernets import SupernetReport, SupernetState
from elasticnas.service import list_repository as listing
from elasticnas.service import repository
from elasticnas.service.database import now
from elasticnas.service.jobs import registrations
from elasticnas.service.jobs.tables import JobRow
from elasticnas.service.overview.events import DELETED
from elasticnas.service.principal import Principal
from elasticnas.service.searches.tables import SearchRow
from elasticnas.service.supernets.tables import SupernetRow


def found(
    session: Session,
    principal: Principal,
    supernet_id: str,
    *,
    field: str | None = None,
    lock: bool = False,
) -> SupernetRow:
    """One of the principal's super-networks, or the problem of `repository.found`."""
    return repository.found(session, principal, SupernetRow, supernet_id, field=field, lock=lock)


@dataclass(frozen=True)
class Wanted:
    """Which super-networks a list is of: those for which everything holds that is not None."""

    text: str | None = None
    tag: str | None = None
    states: Sequence[SupernetState] | None = None
    method: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """What must hold of a row."""
        row = SupernetRow
        return [
            *listing.holds_text(self.text, row.name, row.id, row.notes, row.tags),
            *listing.has_tag(row, self.tag),
            *listing.is_one_of(row.state, self.states),
            *listing.is_one_of(row.summary["method"].as_string(), self.method and [self.method]),
        ]


def page(
    session: Session,
    principal: Principal,
    wanted: Wanted,
    *,
    sort: Sort,
    limit: int,
    cursor: str | None,
) -> tuple[list[SupernetRow], str | None]:
    """Super-networks in the order asked for."""
    order = listing.order_of(SupernetRow, sort, {"name": SupernetRow.name})
    conditions = wanted.conditions()
    return listing.page(
        session, principal, SupernetRow, conditions, order, limit=limit, cursor=cursor
    )


def add(session: Session, row: SupernetRow) -> None:
    """Register a super-network, to be read by a worker."""
    session.add(row)


def by_id(session: Session, supernet_id: str) -> SupernetRow | None:
    """A super-network of any owner; None when it was deleted meanwhile."""
    return session.get(SupernetRow, supernet_id)


def name(session: Session, supernet_id: str) -> str:
    """The name of a super-network of any owner, which a search refers to."""
    return session.scalars(select(SupernetRow.name).where(SupernetRow.id == supernet_id)).one()


def remove(session: Session, row: SupernetRow) -> None:
    """Delete a super-network that no search refers to."""
    _tell(session, [row], DELETED)
    session.delete(row)


def reports(session: Session, supernet_ids: Collection[str]) -> dict[str, Any]:
    """The reports of these super-networks by id."""
    rows = session.execute(
        select(SupernetRow.id, SupernetRow.report).where(SupernetRow.id.in_(supernet_ids))
    )
    return {row.id: row.report for row in rows}


def readable_digests(session: Session, principal: Principal, digests: Collection[str]) -> set[str]:
    """Those of these digests that are of the principal's super-networks."""
    if not digests:
        return set()
    mine = repository.readable(principal, SupernetRow).with_only_columns(SupernetRow.digest)
    return set(session.scalars(mine.where(SupernetRow.digest.in_(digests))))


def reading(session: Session) -> Sequence[SupernetRow]:
    """The super-networks whose checkpoint no worker has read yet, the oldest first."""
    return session.scalars(
        select(SupernetRow)
        .where(SupernetRow.state == SupernetState.READING)
        .order_by(SupernetRow.created_at)
    ).all()


def state(session: Session, supernet_id: str) -> SupernetState | None:
    """The state of a super-network, if there is one."""
    found = session.scalars(
        select(SupernetRow.state).where(SupernetRow.id == supernet_id)
    ).one_or_none()
    return None if found is None else SupernetState(found)


def mark_asked(session: Session, seen: SupernetRow, moment: datetime) -> bool:
    """A worker is about to be asked to read a checkpoint; False when it was read, or another
    process has asked since the row was ``seen``."""
    is_as_seen = (
        SupernetRow.sent_at.is_(None)
        if seen.sent_at is None
        else SupernetRow.sent_at == seen.sent_at
    )
    asked = session.scalars(
        update(SupernetRow)
        .where(SupernetRow.id == seen.id, SupernetRow.state == SupernetState.READING, is_as_seen)
        .values(sent_at=moment, sent_generation=None)
        .returning(SupernetRow.id)
    )
    return asked.one_or_none() is not None


def mark_sent(session: Session, supernet_id: str, generation: str) -> None:
    """A message carries it now, in this generation of the queue."""
    session.execute(
        update(SupernetRow).where(SupernetRow.id == supernet_id).values(sent_generation=generation)
    )


def mark_unsent(session: Session, supernet_id: str) -> None:
    """No message carries it."""
    session.execute(
        update(SupernetRow)
        .where(SupernetRow.id == supernet_id)
        .values(sent_at=None, sent_generation=None)
    )


def record_report(
    session: Session, supernet_id: str, report: SupernetReport, summary: dict[str, Any]
) -> None:
    """Make a super-network ready; no effect when it was deleted meanwhile."""
    _leave_reading(
        session,
        supernet_id,
        state=SupernetState.READY,
        report=report.model_dump(mode="json"),
        summary=summary,
    )


def record_rejection(session: Session, supernet_id: str, problem: Problem) -> None:
    """Note why a checkpoint cannot be used."""
    _leave_reading(
        session,
        supernet_id,
        state=SupernetState.FAILED,
        problem=problem.model_dump(mode="json"),
    )


def _leave_reading(session: Session, supernet_id: str, **values: Any) -> None:
    changed = session.scalars(
        update(SupernetRow)
        .where(SupernetRow.id == supernet_id, SupernetRow.state == SupernetState.READING)
        .values(**values, read_at=now())
        .returning(SupernetRow)
    )
    _tell(session, changed.all())


def sweep(session: Session, before: datetime) -> None:
    """Delete super-networks whose checkpoint was found to be unusable, registered before this."""
    deleted = session.scalars(
        delete(SupernetRow)
        .where(SupernetRow.state == SupernetState.FAILED, SupernetRow.created_at < before)
        .returning(SupernetRow)
    )
    _tell(session, deleted.all(), DELETED)


def _tell(session: Session, rows: Collection[SupernetRow], state: str | None = None) -> None:
    """The owner's stream tells of registrations; not of what a training has made."""
    made = set(
        session.scalars(
            select(JobRow.supernet_id).where(JobRow.supernet_id.in_([row.id for row in rows]))
        )
    )
    for row in rows:
        if row.id not in made:
            registrations.tell_owner(session, row, state)


def digests(session: Session) -> set[str]:
    """The manifest digests of all super-networks, in every state, and of all searches."""
    registered = select(SupernetRow.digest)
    searched = select(SearchRow.supernet_digest)
    return set(session.scalars(union(registered, searched)))


def search_using(session: Session, supernet_id: str) -> str | None:
    """The id of a search that refers to the super-network, if there is one."""
    return session.scalars(
        select(SearchRow.id).where(SearchRow.supernet_id == supernet_id).limit(1)
    ).first()
