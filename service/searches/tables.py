"""The tables of searches, their evaluations and the history of their fronts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from service.database import Table


class SearchRow(Table):
    """A search: the request as it was resolved, and counters, so that polling it is one row."""

    __tablename__ = "searches"
    __table_args__ = (
        Index("ix_searches_created_at_id", "created_at", "id"),
        Index("ix_searches_state", "state"),
        Index("ix_searches_supernet_id", "supernet_id"),
        Index("ix_searches_dataset_id", "dataset_id"),
        Index("ix_searches_measurement", "supernet_digest", "dataset_digest", "task", "max_length"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str | None] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(16))
    request: Mapped[dict[str, Any]]
    """The `SearchCreate` with every default filled in."""
    supernet_id: Mapped[str] = mapped_column(ForeignKey("supernets.id"))
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    supernet_digest: Mapped[str] = mapped_column(String(64))
    dataset_digest: Mapped[str] = mapped_column(String(64))
    task: Mapped[str] = mapped_column(String(40))
    max_length: Mapped[int]
    reference_point: Mapped[dict[str, Any]]
    idempotency_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    idempotency_digest: Mapped[str | None] = mapped_column(String(64))

    completed: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    cached: Mapped[int] = mapped_column(default=0)
    running: Mapped[int] = mapped_column(default=0)
    hypervolume: Mapped[float] = mapped_column(default=0.0)
    front_size: Mapped[int] = mapped_column(default=0)
    front_revision: Mapped[int] = mapped_column(default=0)
    """Grows whenever the front changes: what polls of the front are answered 304 by."""
    best_number: Mapped[int | None]
    best_metric: Mapped[float | None]
    elapsed_seconds: Mapped[float] = mapped_column(default=0.0)
    """Time spent running, written every second or so; the time between processes is not in it."""
    stop_reason: Mapped[str | None] = mapped_column(String(40))
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class EvaluationRow(Table):
    """One subnet of a search. A row without ``finished_at`` is in flight."""

    __tablename__ = "evaluations"
    __table_args__ = (
        Index("ix_evaluations_search_id_state_number", "search_id", "state", "number"),
        Index("ix_evaluations_subnet_key_state", "subnet_key", "state"),
    )

    search_id: Mapped[str] = mapped_column(
        ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    subnet_key: Mapped[str] = mapped_column(String(32))
    choices: Mapped[list[Any]]
    """The index of the choice of each dimension, in the order of the space."""
    cost: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any] | None]
    state: Mapped[str] = mapped_column(String(16))
    origin: Mapped[str] = mapped_column(String(16))
    cached: Mapped[bool] = mapped_column(default=False)
    worker: Mapped[str | None] = mapped_column(String(200))
    attempt: Mapped[int] = mapped_column(default=1)
    sequence: Mapped[int | None]
    """How many evaluations of the search had finished with this one."""
    hypervolume: Mapped[float | None]
    """Of the front once this one was recorded."""
    duration_seconds: Mapped[float | None]
    error: Mapped[dict[str, Any] | None]
    sent_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class FrontPointRow(Table):
    """When an evaluation entered the Pareto front, and when a better one drove it out."""

    __tablename__ = "front_points"
    __table_args__ = (Index("ix_front_points_search_id_left_at", "search_id", "left_at"),)

    search_id: Mapped[str] = mapped_column(
        ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    entered_sequence: Mapped[int]
    entered_at: Mapped[datetime]
    left_sequence: Mapped[int | None]
    left_at: Mapped[datetime | None]
