"""The SQL that is the same for every table whose rows have an owner."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

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
