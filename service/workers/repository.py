"""All SQL about workers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from elasticnas.api_schemas.messages import RunStep, WorkerAlive
from elasticnas.api_schemas.precision import Precision
from elasticnas.service.database import clock, clock_in_sql
from elasticnas.service.workers.tables import WorkerRow


def record(session: Session, result: WorkerAlive) -> None:
    """Keep a worker's latest heartbeat, which came at this moment of the database's clock."""
    session.merge(
        WorkerRow(
            name=result.worker,
            device=result.device,
            device_name=result.device_name,
            busy=result.busy,
            memory=None if result.memory is None else result.memory.model_dump(mode="json"),
            evaluations=result.evaluations,
            warm_supernets=list(result.warm_supernets),
            evaluating=list(result.evaluating),
            written=result.written,
            started_at=result.started_at,
            last_seen_at=clock_in_sql(session),
            stopping=result.stopping,
            precision=result.precision,
            precisions=None if result.precisions is None else list(result.precisions),
            takes=None if result.takes is None else list(result.takes),
        )
    )


def preferred_precision(session: Session, silence: timedelta, *, known: bool) -> Precision | None:
    """What more than half of the living workers prefer to measure in; float32 if nothing is.

    Where no living worker says what it prefers, the one heard from last decides, and float32 where
    there never was one. Where the preference must be ``known``, it is None instead.
    """
    rows = [row for row in alive(session, silence) if row.precision is not None]
    if not rows and known:
        return None
    rows = rows or list(latest(session, 1)[0])
    for precision in Precision:
        if 2 * sum(row.precision == precision for row in rows) > len(rows):
            return precision
    return Precision.FLOAT32


def able(rows: Sequence[WorkerRow], precision: Precision) -> int:
    """How many of these workers measure in a precision, if they are asked to.

    A worker that does not say what it can do does not count: it measures in its own precision
    without regard to what it is asked for.
    """
    return sum(precision in (row.precisions or ()) for row in rows)


def taking(rows: Sequence[WorkerRow], queue: str) -> Sequence[WorkerRow]:
    """Those of these workers that take messages from a queue at the moment.

    One that does not say is of a version that did all but jobs.
    """
    return [
        row for row in rows if (queue != RunStep.queue if row.takes is None else queue in row.takes)
    ]


def latest(session: Session, limit: int) -> tuple[Sequence[WorkerRow], datetime]:
    """The workers heard from last, and the present moment of the database's clock."""
    rows = session.scalars(
        select(WorkerRow).order_by(WorkerRow.last_seen_at.desc(), WorkerRow.name).limit(limit)
    ).all()
    return rows, clock(session)


def alive(session: Session, silence: timedelta) -> Sequence[WorkerRow]:
    """The workers that were heard from within ``silence`` and have not left."""
    return session.scalars(
        select(WorkerRow).where(
            WorkerRow.stopping.is_(False), WorkerRow.last_seen_at > clock(session) - silence
        )
    ).all()
