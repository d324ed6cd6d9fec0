"""Requests that create one thing for a key, however often they are sent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import sqlalchemy.exc
from fastapi import Header
from pydantic import BaseModel
from sqlalchemy.orm import Session

from elasticnas.api_schemas.fields import IdempotencyKey
from elasticnas.service import repository
from elasticnas.service.database import Database
from elasticnas.service.http.problems import refuse
from elasticnas.service.principal import Principal
from elasticnas.service.repository import OnceCreated

KeyHeader = Annotated[
    IdempotencyKey | None,
    Header(
        alias="Idempotency-Key",
        description="the same key with the same body creates one, however often it is sent",
    ),
]


@dataclass(frozen=True)
class KeyOfRequest:
    """A client's key, and a digest of what it came with."""

    key: str
    digest: str

    @classmethod
    def of(cls, key: str | None, body: BaseModel, *uploads: str) -> KeyOfRequest | None:
        """The key with the digest of this body, however its JSON is spelled, and of ``uploads``,
        which are digests themselves; None where the request has no key."""
        if key is None:
            return None
        content = "".join([body.model_dump_json(exclude_none=True), *uploads])
        return cls(key, hashlib.sha256(content.encode()).hexdigest())


def earlier(
    session: Session, principal: Principal, table: type[OnceCreated], key: KeyOfRequest | None
) -> OnceCreated | None:
    """What the same request has created before.

    Raises:
        ProblemError: 409, the key came with something else.
    """
    if key is None:
        return None
    row = repository.by_idempotency_key(session, principal, table, key.key)
    if row is not None and row.idempotency_digest != key.digest:
        raise refuse(
            "idempotency-conflict",
            f"this Idempotency-Key created {table.called} {row.id} from another body; "
            "use a new key",
        )
    return row


def add_once(
    database: Database,
    principal: Principal,
    row: OnceCreated,
    key: KeyOfRequest | None,
    add: Callable[[Session], None],
) -> OnceCreated:
    """The row, once ``add`` has kept it; or the one of the same request at the same moment.

    Raises:
        ProblemError: 409, the key came with something else at the same moment.
    """
    if key is not None:
        row.idempotency_key, row.idempotency_digest = key.key, key.digest
    try:
        with database.write() as session:
            add(session)
    except sqlalchemy.exc.IntegrityError:
        with database.read() as session:
            if (found := earlier(session, principal, type(row), key)) is None:
                raise
            return found
    return row
