"""All SQL about the events of owners."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.dialects.postgresql import insert as insert_postgresql
from sqlalchemy.dialects.sqlite import insert as insert_sqlite
from sqlalchemy.orm import Session

from elasticnas.service.database import now
from elasticnas.service.overview.tables import OwnerEventCountRow, OwnerEventRow

KEPT = 10_000
"""So many events of an owner are kept."""


def add(session: Session, owner: str, kind: str, data: dict[str, Any]) -> None:
    """Keep an event, and forget those that are too old."""
    number = _next_number(session, owner)
    row = OwnerEventRow(owner=owner, number=number, kind=kind, data=data, at=now())
    session.add(row)
    session.execute(
        delete(OwnerEventRow).where(
            OwnerEventRow.owner == owner, OwnerEventRow.number <= number - KEPT
        )
    )


def _next_number(session: Session, owner: str) -> int:
    """Holds the owner's counter until the transaction ends, also one that it makes."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    insert: Any = insert_sqlite if is_sqlite else insert_postgresql
    counted = (
        insert(OwnerEventCountRow)
        .values(owner=owner, last_event=1)
        .on_conflict_do_update(
            index_elements=[OwnerEventCountRow.owner],
            set_={"last_event": OwnerEventCountRow.last_event + 1},
        )
        .returning(OwnerEventCountRow.last_event)
    )
    return int(session.execute(counted).scalar_one())


def last_events(session: Session, owners: Collection[str]) -> dict[str, int]:
    """How many events these owners have had."""
    found = session.scalars(select(OwnerEventCountRow).where(OwnerEventCountRow.owner.in_(owners)))
    return dict.fromkeys(owners, 0) | {row.owner: row.last_event for row in found}


def since(session: Session, numbers: Mapping[str, int], *, limit: int) -> Sequence[OwnerEventRow]:
    """At most ``limit`` events of several owners, of each those beyond the number given."""
    if not numbers:
        return []
    beyond = (
        and_(OwnerEventRow.owner == owner, OwnerEventRow.number > number)
        for owner, number in numbers.items()
    )
    return session.scalars(
        select(OwnerEventRow)
        .where(or_(*beyond))
        .order_by(OwnerEventRow.owner, OwnerEventRow.number)
        .limit(limit)
    ).all()
