"""All SQL about workers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from api_schemas.messages import WorkerAlive
from service.database import clock, clock_in_sql
from service.workers.tables import WorkerRow


def record(session: Session, result: WorkerAlive) -> None:
    """Keep a worker's latest heartbeat, which came at this moment of the database's clock."""
    session.merge(
        WorkerRow(
            name=result.worker,
            device=result.device,
            evaluations=result.evaluations,
            warm_supernets=list(result.warm_supernets),
            evaluating=list(result.evaluating),
            started_at=result.started_at,
            last_seen_at=clock_in_sql(session),
            stopping=result.stopping,
        )
    )


def latest(session: Session, limit: int) -> tuple[Sequence[WorkerRow], datetime]:
    """The workers heard from last, and the moment, on the clock that they were heard by."""
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
