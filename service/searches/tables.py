"""The tables of searches, their evaluations and the history of their fronts."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, Index, String, UniqueConstraint, and_
from sqlalchemy.orm import Mapped, mapped_column

from elasticnas.service.annotations import Annotatable
from elasticnas.service.database import Table
from elasticnas.service.principal import Idempotent
from elasticnas.service.stored_json import StoredRequest


class SearchRow(Annotatable, Idempotent, Table):
    """A search: the request as it was resolved, and counters, so that polling it is one row."""

    called = "search"
    __tablename__ = "searches"
    __table_args__ = (
        UniqueConstraint("owner", "idempotency_key"),
        Index("ix_searches_owner_created_at_id", "owner", "created_at", "id"),
        Index("ix_searches_state", "state"),
        Index("ix_searches_coordinator_id", "coordinator_id"),
        Index("ix_searches_supernet_id", "supernet_id"),
        Index("ix_searches_dataset_id", "dataset_id"),
        Index("ix_searches_verify_dataset_id", "verify_dataset_id"),
        Index("ix_searches_train_dataset_id", "train_dataset_id"),
        Index("ix_searches_conditions_key", "conditions_key"),
    )

    name: Mapped[str | None] = mapped_column(String(200))
    state: Mapped[str] = mapped_column(String(16))
    request: Mapped[dict[str, Any]] = mapped_column(StoredRequest)
    """The `SearchCreate` with every default filled in."""
    asked: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    """The request as it was given; None of an earlier version's."""
    supernet_id: Mapped[str] = mapped_column(ForeignKey("supernets.id"))
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    supernet_digest: Mapped[str] = mapped_column(String(64))
    dataset_digest: Mapped[str] = mapped_column(String(64))
    task: Mapped[str] = mapped_column(String(40))
    max_length: Mapped[int]
    precision: Mapped[str | None] = mapped_column(String(16))
    """In which all of its subnets are measured, from its start on."""
    conditions_key: Mapped[str | None] = mapped_column(String(64))
    """Of the `Conditions` under which its subnets are measured, once its precision is known."""
    verify_share: Mapped[float] = mapped_column(default=0.0)
    """Of the dataset's rows, which the search never sees; 0 when it measures on all of them."""
    verify_dataset_id: Mapped[str | None] = mapped_column(String(40))
    verify_dataset_digest: Mapped[str | None] = mapped_column(String(64))
    train_dataset_id: Mapped[str | None] = mapped_column(String(40))
    """Of the rows that every subnet is fine-tuned on before it is measured."""
    train_dataset_digest: Mapped[str | None] = mapped_column(String(64))
    reference_point: Mapped[dict[str, Any]]

    coordinator_id: Mapped[str | None] = mapped_column(String(40))
    """The coordinator that drives the search, which checks this in every transaction (a fence)."""
    revision: Mapped[int] = mapped_column(default=0)
    """Grows with every change that a request makes: what is in memory of before it is stale."""
    last_event: Mapped[int] = mapped_column(default=0)

    completed: Mapped[int] = mapped_column(default=0)
    given_up: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    cached: Mapped[int] = mapped_column(default=0)
    running: Mapped[int] = mapped_column(default=0)
    recorded: Mapped[int] = mapped_column(default=0)
    """How many results were ever recorded, those of evaluations tried again included."""
    hypervolume: Mapped[float] = mapped_column(default=0.0)
    front_size: Mapped[int] = mapped_column(default=0)
    front_revision: Mapped[int] = mapped_column(default=0)
    """Grows whenever the front changes: what polls of the front are answered 304 by."""
    pilots: Mapped[list[Any] | None]
    """The numbers of the evaluations that the course of its races is laid by, once it is."""
    best_number: Mapped[int | None]
    best_metric: Mapped[float | None]
    elapsed_seconds: Mapped[float] = mapped_column(default=0.0)
    """Time spent running, written every second or so; the time between processes is not in it."""
    stop_reason: Mapped[str | None] = mapped_column(String(40))
    error: Mapped[dict[str, Any] | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class EvaluationRow(Table):
    """One subnet of a search. A row without ``finished_at`` is in flight.

    What a worker says of it is kept in ``report`` by whichever process hears it, and becomes part
    of the search when the coordinator that drives the search takes it up. What was declined is {},
    also where a front member was to be measured once more.
    """

    __tablename__ = "evaluations"
    __table_args__ = (
        Index("ix_evaluations_search_id_state_number", "search_id", "state", "number"),
        Index("ix_evaluations_search_id_sequence", "search_id", "sequence"),
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
    hits: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    """The `Hits` behind the metrics, where the search races."""
    rival: Mapped[int | None]
    """The number of the evaluation that this one has to surpass, where the search races."""
    given_up: Mapped[dict[str, Any] | None]
    """The `GivenUp` of a race that was lost before the last row."""
    start: Mapped[dict[str, Any] | None]
    """The `StartedFrom`: which evaluation's trained weights its own training begins with."""
    start_weights: Mapped[str | None] = mapped_column(String(64))
    """The digest of those weights; None where it begins with the super-network's."""
    weights: Mapped[str | None] = mapped_column(String(64))
    """The digest of what it has learnt, where the search keeps that."""
    bracket: Mapped[int | None]
    """The first number of the bracket that it is trained in, where trainings are raced."""
    rung: Mapped[int] = mapped_column(default=0)
    """Which rung of its bracket it is trained for."""
    rungs: Mapped[list[Any] | None]
    """What it measured at the end of each rung but the last: `RungRead`."""
    training_state: Mapped[str | None] = mapped_column(String(64))
    """The digest of what its training goes on with on its rung."""
    state: Mapped[str] = mapped_column(String(16))
    origin: Mapped[str] = mapped_column(String(16))
    cached: Mapped[bool] = mapped_column(default=False)
    report: Mapped[dict[str, Any] | None]
    verified: Mapped[dict[str, Any] | None]
    """The `Verified` of a front member, or the problem that kept it from being verified."""
    resamples: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)
    """The `Resamples` behind the intervals of ``verified``."""
    verify_attempt: Mapped[int] = mapped_column(default=1)
    precision: Mapped[str | None] = mapped_column(String(16))
    """In which it was measured; None where nobody said."""
    worker: Mapped[str | None] = mapped_column(String(200))
    attempt: Mapped[int] = mapped_column(default=1)
    sequence: Mapped[int | None]
    """How many results of the search had been recorded with this one."""
    hypervolume: Mapped[float | None]
    """Of the front once this one was recorded."""
    duration_seconds: Mapped[float | None]
    error: Mapped[dict[str, Any] | None]
    sent_at: Mapped[datetime]
    """When a message came to carry this one, on the database's clock; when it was placed, before
    that and where the queue is in memory."""
    sent_generation: Mapped[str | None] = mapped_column(String(100))
    """Of the queue, when the message that carries this one was sent; None before that."""
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]

    @classmethod
    def numbered(cls, search_id: str, numbers: Collection[int]) -> ColumnElement[bool]:
        """The criterion for these evaluations of a search."""
        return and_(cls.search_id == search_id, cls.number.in_(numbers))


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


class CoordinatorRow(Table):
    """A process that drives searches, alive until ``expires_at`` on the database's clock."""

    __tablename__ = "coordinators"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    started_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class SearchEventRow(Table):
    """Something that happened to a search, kept so that a reader who was away can catch up."""

    __tablename__ = "search_events"

    search_id: Mapped[str] = mapped_column(
        ForeignKey("searches.id", ondelete="CASCADE"), primary_key=True
    )
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(20))
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]
