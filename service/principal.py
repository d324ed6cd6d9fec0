"""Who sends a request, and which rows they may read.

The service knows one owner so far, and every request is theirs. API keys change `principal` alone:
the endpoints take what it returns, and the repositories ask it which rows are to be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar

from fastapi import Depends
from sqlalchemy import ColumnElement, String
from sqlalchemy.orm import Mapped, mapped_column

DEFAULT_OWNER = "default"
"""The owner of everything until there are API keys."""
MAX_OWNER = 100


class Owned:
    """A table whose rows have an id and an owner, without a default: a row of nobody's is a fault.

    ``called`` is what a problem document calls one of them.
    """

    called: ClassVar[str]

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(MAX_OWNER))
    created_at: Mapped[datetime]


class Idempotent(Owned):
    """A table of which a request with an Idempotency-Key creates one row: see `idempotency`."""

    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    idempotency_digest: Mapped[str | None] = mapped_column(String(64))
    """Of the request that came with the key."""


@dataclass(frozen=True)
class Principal:
    """The sender of a request. What they create belongs to ``owner``."""

    owner: str

    def may_read(self, table: type[Owned]) -> ColumnElement[bool]:
        """The condition on a table's rows that holds for those of this principal."""
        return table.owner == self.owner


async def principal() -> Principal:  # needs no thread
    """The principal of a request: always the default owner."""
    return Principal(DEFAULT_OWNER)


PrincipalDep = Annotated[Principal, Depends(principal)]
"""The principal of the request, as endpoints take it."""
