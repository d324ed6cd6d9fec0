"""The table of exports."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from elasticnas.service.database import Table


class ExportState(StrEnum):
    """``pending -> ready | failed``."""

    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


class ExportRow(Table):
    """One subnet's weights in one format; the archive itself is the blob ``digest``."""

    __tablename__ = "exports"
    __table_args__ = (UniqueConstraint("search_id", "number", "format"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    search_id: Mapped[str] = mapped_column(ForeignKey("searches.id", ondelete="CASCADE"))
    number: Mapped[int]
    format: Mapped[str] = mapped_column(String(20))
    state: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str | None] = mapped_column(String(64))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    problem: Mapped[dict[str, Any] | None]
    requested_at: Mapped[datetime]
    sent_at: Mapped[datetime]
    sent_generation: Mapped[str | None] = mapped_column(String(100))
    """Of the queue when the message was sent."""
    finished_at: Mapped[datetime | None]
