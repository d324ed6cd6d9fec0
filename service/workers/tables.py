"""The table of workers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from elasticnas.service.database import Table


class WorkerRow(Table):
    """A worker as of its last heartbeat."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    device: Mapped[str] = mapped_column(String(200))
    device_name: Mapped[str | None] = mapped_column(String(200))
    busy: Mapped[float | None]
    memory: Mapped[dict[str, Any] | None]
    """A `WorkerMemory`. None, as the two before, of a worker of an earlier version."""
    evaluations: Mapped[int]
    warm_supernets: Mapped[list[Any]]
    evaluating: Mapped[list[Any]]
    """What it is at, as ``search id/number``: its lease on these evaluations."""
    written: Mapped[dict[str, Any] | None]
    """Bytes that there are of each export that it builds, by the export's id."""
    started_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    stopping: Mapped[bool]
    precision: Mapped[str | None] = mapped_column(String(16))
    precisions: Mapped[list[Any] | None]
    """What it prefers to measure in, and all that it can; None of one of an earlier version, which
    does not say."""
    takes: Mapped[list[Any] | None]
    """The queues that it takes messages from at the moment; None of one that does not say."""
