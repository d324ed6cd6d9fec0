"""The tables of jobs, their steps and what happened to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from elasticnas.service.database import Table
from elasticnas.service.principal import Idempotent


class JobRow(Idempotent, Table):
    """A job: what was asked for, and how far it is."""

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_owner_created_at_id", "owner", "created_at", "id"),
        Index("ix_jobs_state", "state"),
        Index("ix_jobs_dataset_id", "dataset_id"),
        Index("uq_jobs_owner_idempotency_key", "owner", "idempotency_key", unique=True),
    )

    called = "job"

    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str] = mapped_column(String(200))
    recipe: Mapped[str] = mapped_column(String(100))
    settings: Mapped[dict[str, Any]]
    """Those of the recipe, with every default filled in."""
    base_digest: Mapped[str] = mapped_column(String(64))
    """The manifest of the model, or the super-network, that the first step begins with."""
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    state: Mapped[str] = mapped_column(String(16))
    position: Mapped[int] = mapped_column(default=0)
    """Of the step that it is at."""
    supernet_id: Mapped[str | None] = mapped_column(String(40))
    """The super-network that the last step's output is registered as."""
    chosen: Mapped[dict[str, Any] | None]
    """The `ChosenSubnet` that a fine-tuning is of."""
    problem: Mapped[dict[str, Any] | None]
    last_event: Mapped[int] = mapped_column(default=0)
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class StepRow(Table):
    """One step of a job."""

    __tablename__ = "job_steps"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(String(100))
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(default=0)
    """How often it was given to a worker: reports of an earlier attempt are dropped (a fencing
    token)."""
    deaths: Mapped[int] = mapped_column(default=0)
    """How many attempts in a row died without reaching a save point."""
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    scalars: Mapped[dict[str, Any] | None]
    scalars_done: Mapped[int] = mapped_column(default=0)
    """How far it was at its last scalars event."""
    saved: Mapped[str | None] = mapped_column(String(64))
    """The manifest of its last save point."""
    saved_at: Mapped[datetime | None]
    output: Mapped[str | None] = mapped_column(String(64))
    """The manifest of what it left."""
    worker: Mapped[str | None] = mapped_column(String(200))
    sent_at: Mapped[datetime | None]
    """When a worker was last asked to do it; None when one must be."""
    sent_generation: Mapped[str | None] = mapped_column(String(100))
    """Of the queue when the message was sent; None before that."""
    heard_at: Mapped[datetime | None]
    """When a worker last reported on it."""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class JobEventRow(Table):
    """Something that happened to a job, kept so that a reader who was away can catch up."""

    __tablename__ = "job_events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20))
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]
