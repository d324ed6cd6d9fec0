"""The table of super-networks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from elasticnas.service.annotations import Annotatable
from elasticnas.service.database import Table
from elasticnas.service.principal import Owned


class SupernetRow(Annotatable, Owned, Table):
    """A registered checkpoint, or one that a worker is reading."""

    called = "super-network"
    __tablename__ = "supernets"
    __table_args__ = (
        Index("ix_supernets_owner_created_at_id", "owner", "created_at", "id"),
        Index("ix_supernets_state_created_at_id", "state", "created_at", "id"),
    )

    name: Mapped[str] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    summary: Mapped[dict[str, Any] | None]
    """A `SupernetSummary`: all that a list shows, so that the report is not loaded for it."""
    report: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    """The worker's `SupernetReport`; large when the base is sparse."""
    problem: Mapped[dict[str, Any] | None]
    """Why the checkpoint cannot be used."""
    attempt: Mapped[int] = mapped_column(default=1, server_default="1")
    """How often its reading was begun: once, and once more for each retry."""
    sent_at: Mapped[datetime | None]
    """When a worker was last asked to read it."""
    sent_generation: Mapped[str | None] = mapped_column(String(100))
    """Of the queue, when the message was sent; None before that."""
    read_at: Mapped[datetime | None]
    """When a worker had read it, or found that it cannot be read."""
