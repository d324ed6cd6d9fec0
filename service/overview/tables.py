"""The tables of what has happened to everything of an owner."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from elasticnas.service.database import Table
from elasticnas.service.principal import MAX_OWNER


class OwnerEventCountRow(Table):
    """How many events an owner has had.

    Whoever adds one holds the row until the transaction ends: numbers have no gaps, and a reader
    who sees one sees all before it.
    """

    __tablename__ = "owner_event_counts"

    owner: Mapped[str] = mapped_column(String(MAX_OWNER), primary_key=True)
    last_event: Mapped[int]


class OwnerEventRow(Table):
    """A search or a job of an owner has changed its state."""

    __tablename__ = "owner_events"

    owner: Mapped[str] = mapped_column(String(MAX_OWNER), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20))
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]
