"""The SQL that is the same for every table whose rows have an owner."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from elasticnas.service.http.problems import not_found
from elasticnas.service.principal import Idempotent, Owned, Principal

Row = TypeVar("Row", bound=Owned)
Value = TypeVar("Value")
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


def values(
    session: Session,
    principal: Principal,
    table: type[Row],
    column: InstrumentedAttribute[Value],
    identities: Collection[str],
) -> dict[str, Value]:
    """A column of those of these rows that the principal may read, by id."""
    if not identities:
        return {}
    mine = readable(principal, table).where(table.id.in_(identities))
    return {row[0]: row[1] for row in session.execute(mine.with_only_columns(table.id, column))}


def by_idempotency_key(
    session: Session, principal: Principal, table: type[OnceCreated], key: str
) -> OnceCreated | None:
    """What its owner created with this key: two owners may use the same."""
    query = select(table).where(table.owner == principal.owner, table.idempotency_key == key)
    return session.scalars(query).one_or_none()
