"""The SQL that is the same for every table whose rows have an owner."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import ColumnElement, Select, select, tuple_
from sqlalchemy.orm import Session

from elasticnas.service.http.paging import encode_cursor, moment_and_id
from elasticnas.service.http.problems import not_found
from elasticnas.service.principal import Idempotent, Owned, Principal

Row = TypeVar("Row", bound=Owned)
OnceCreated = TypeVar("OnceCreated", bound=Idempotent)


def readable(principal: Principal, table: type[Row]) -> Select[Row]:
    """The rows that a principal may read: every statement of a request begins with this one."""
    return select(table).where(principal.may_read(table))


def found(
    session: Session,
    principal: Principal,
    table: type[Row],
    identity: str,
    *,
    field: str | None = None,
    lock: bool = False,
) -> Row:
    """The row with this id as it is now; ``lock`` holds it until the transaction ends.

    Raises:
        ProblemError: 404, the principal has none; 422 where ``field`` of a body refers to it.
    """
    query = readable(principal, table).where(table.id == identity)
    query = query.execution_options(populate_existing=True)
    row = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if row is None:
        raise not_found(table.called, identity, field=field)
    return row


def by_idempotency_key(
    session: Session, principal: Principal, table: type[OnceCreated], key: str
) -> OnceCreated | None:
    """What its owner created with this key: two owners may use the same."""
    query = select(table).where(table.owner == principal.owner, table.idempotency_key == key)
    return session.scalars(query).one_or_none()


def newest_page(
    session: Session,
    principal: Principal,
    table: type[Row],
    *conditions: ColumnElement[bool],
    limit: int,
    cursor: str | None,
) -> tuple[list[Row], str | None]:
    """One page of the principal's rows, the newest first, and the cursor of the next."""
    return page_of(
        newest(session, principal, table, *conditions, limit=limit, cursor=cursor), limit
    )


def newest(
    session: Session,
    principal: Principal,
    table: type[Row],
    *conditions: ColumnElement[bool],
    limit: int,
    cursor: str | None,
) -> list[Row]:
    """The rows of a page, the newest first, and one more if another page follows."""
    query = readable(principal, table).where(*conditions)
    if cursor is not None:
        query = query.where(tuple_(table.created_at, table.id) < tuple_(*moment_and_id(cursor)))
    query = query.order_by(table.created_at.desc(), table.id.desc()).limit(limit + 1)
    return list(session.scalars(query))


def page_of(rows: list[Row], limit: int) -> tuple[list[Row], str | None]:
    """The page that rows begin with, and the cursor of the next."""
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], encode_cursor(last.created_at.isoformat(), last.id)
