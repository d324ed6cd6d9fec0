"""All SQL about super-networks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import delete, select, union, update
from sqlalchemy.orm import Session

from api_schemas.problems import Problem
from api_schemas.supernets import SupernetReport
from service.http.paging import newest_page
from service.searches.tables import SearchRow
from service.supernets.tables import SupernetRow, SupernetState


def ready(session: Session, supernet_id: str) -> SupernetRow | None:
    """The super-network, unless it is unknown or not ready."""
    row = session.get(SupernetRow, supernet_id)
    return row if row is not None and row.state == SupernetState.READY else None


def page(
    session: Session, *, limit: int, cursor: str | None
) -> tuple[list[SupernetRow], str | None]:
    """Ready super-networks, the newest first."""
    return newest_page(
        session,
        select(SupernetRow).where(SupernetRow.state == SupernetState.READY),
        SupernetRow.created_at,
        SupernetRow.id,
        limit=limit,
        cursor=cursor,
    )


def record_report(
    session: Session, supernet_id: str, report: SupernetReport, summary: dict[str, Any]
) -> None:
    """Make a super-network ready; no effect when nobody waits for it any more."""
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
        state=SupernetState.REJECTED,
        problem=problem.model_dump(mode="json"),
    )


def _leave_reading(session: Session, supernet_id: str, **values: Any) -> None:
    session.execute(
        update(SupernetRow)
        .where(SupernetRow.id == supernet_id, SupernetRow.state == SupernetState.READING)
        .values(**values)
    )


def outcome(
    session: Session, supernet_id: str
) -> tuple[SupernetState, dict[str, Any] | None] | None:
    """The state of a super-network, and the problem if it was rejected."""
    row = session.execute(
        select(SupernetRow.state, SupernetRow.problem).where(SupernetRow.id == supernet_id)
    ).one_or_none()
    return None if row is None else (SupernetState(row.state), row.problem)


def discard_unless_ready(session: Session, supernet_id: str) -> bool:
    """Delete a super-network that nobody waits for; False when it became ready after all."""
    deleted = session.execute(
        delete(SupernetRow)
        .where(SupernetRow.id == supernet_id, SupernetRow.state != SupernetState.READY)
        .returning(SupernetRow.id)
    )
    return deleted.first() is not None


def sweep(session: Session, before: datetime) -> None:
    """Delete registrations that were begun before this moment and never finished."""
    session.execute(
        delete(SupernetRow).where(
            SupernetRow.state != SupernetState.READY, SupernetRow.created_at < before
        )
    )


def digests(session: Session) -> set[str]:
    """The manifest digests of all super-networks, whatever their state, and of all searches."""
    registered = select(SupernetRow.digest)
    searched = select(SearchRow.supernet_digest)
    return set(session.scalars(union(registered, searched)))


def search_using(session: Session, supernet_id: str) -> str | None:
    """The id of a search that refers to the super-network, if there is one."""
    return session.scalars(
        select(SearchRow.id).where(SearchRow.supernet_id == supernet_id).limit(1)
    ).first()
