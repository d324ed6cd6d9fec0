"""All SQL about evaluations on their way: sent to workers, begun, reported, sent again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    delete,
    func,
    select,
    update,
)
from sqlalchemy.orm import Session

from elasticnas.api_schemas.messages import SubnetOutcome
from elasticnas.api_schemas.searches import EvaluationState
from elasticnas.service.database import clock_in_sql
from elasticnas.service.searches.tables import EvaluationRow, SearchRow


def mark_sent(session: Session, search_id: str, numbers: Collection[int], generation: str) -> None:
    """A message carries these now, in a queue that outlives this process.

    The moment is the database's: the search's next coordinator finds out by it what is overdue.
    """
    session.execute(
        update(EvaluationRow)
        .where(EvaluationRow.numbered(search_id, numbers))
        .values(sent_generation=generation, sent_at=clock_in_sql(session))
    )


def mark_resent(
    session: Session, search_id: str, numbers: Collection[int], moment: datetime
) -> None:
    """Another attempt at these begins."""
    session.execute(
        update(EvaluationRow)
        .where(
            EvaluationRow.numbered(search_id, numbers),
            EvaluationRow.finished_at.is_(None),
        )
        .values(
            state=EvaluationState.QUEUED,
            attempt=EvaluationRow.attempt + 1,
            sent_at=moment,
            sent_generation=None,
            worker=None,
        )
    )


def mark_running(
    session: Session, search_id: str, numbers: Collection[int], worker: str, moment: datetime
) -> None:
    """A worker has begun these; the ones that are over stay as they are."""
    session.execute(
        update(EvaluationRow)
        .where(
            EvaluationRow.numbered(search_id, numbers),
            EvaluationRow.state == EvaluationState.QUEUED,
            EvaluationRow.report.is_(None),
        )
        .values(state=EvaluationState.RUNNING, worker=worker, started_at=moment)
    )


def keep_report(session: Session, search_id: str, outcome: SubnetOutcome, worker: str) -> None:
    """Keep what a worker says of an evaluation; the first report of each rung wins."""
    session.execute(
        update(EvaluationRow)
        .where(_unreported(search_id, outcome.number), EvaluationRow.rung == outcome.rung)
        .values(worker=worker, report=outcome.model_dump(mode="json"))
    )


def decline(session: Session, search_id: str, number: int, attempt: int) -> None:
    """Note that a worker took the message of this attempt and did not begin it."""
    session.execute(
        update(EvaluationRow)
        .where(_unreported(search_id, number), EvaluationRow.attempt == attempt)
        .values(state=EvaluationState.QUEUED, worker=None, report={})
    )


def decline_verification(session: Session, search_id: str, number: int, attempt: int) -> None:
    """Note that a message that was to verify this front member did not."""
    session.execute(
        update(EvaluationRow)
        .where(
            EvaluationRow.search_id == search_id,
            EvaluationRow.number == number,
            EvaluationRow.finished_at.is_not(None),
            EvaluationRow.verified.is_(None),
            EvaluationRow.verify_attempt == attempt,
        )
        .values(report={})
    )


def _unreported(search_id: str, number: int) -> ColumnElement[bool]:
    return and_(
        EvaluationRow.search_id == search_id,
        EvaluationRow.number == number,
        EvaluationRow.finished_at.is_(None),
        EvaluationRow.report.is_(None),
    )


def waiting(
    session: Session, search_ids: Collection[str]
) -> Mapping[str, list[tuple[int, str | None, SubnetOutcome | None]]]:
    """By search: number, worker and outcome of what was reported and not yet taken up.

    An outcome of None was declined. Sorted here, not by the database: asked for this order, SQLite
    reads all evaluations of a search in it, of which no more than a window can be unfinished.
    """
    found: dict[str, list[tuple[int, str | None, SubnetOutcome | None]]] = defaultdict(list)
    rows: Sequence[Any] = session.execute(
        select(
            EvaluationRow.search_id,
            EvaluationRow.number,
            EvaluationRow.worker,
            EvaluationRow.report,
        ).where(
            EvaluationRow.search_id.in_(search_ids),
            EvaluationRow.state.in_((EvaluationState.QUEUED, EvaluationState.RUNNING)),
            EvaluationRow.report.is_not(None),
        )
    ).all()
    for search_id, number, worker, report in sorted(rows, key=lambda row: (row[0], row[1])):
        outcome = SubnetOutcome.model_validate(report) if report else None
        found[search_id].append((number, worker, outcome))
    return found


def forget_reports(session: Session, search_id: str, numbers: Collection[int]) -> None:
    """Drop what a worker said of these: it is no result."""
    session.execute(
        update(EvaluationRow).where(EvaluationRow.numbered(search_id, numbers)).values(report=None)
    )


def count_running(session: Session, search_id: str) -> None:
    """Write down how many evaluations of a search are on workers: at most its window."""
    running = (
        select(func.count())
        .select_from(EvaluationRow)
        .where(EvaluationRow.search_id == search_id, EvaluationRow.state == EvaluationState.RUNNING)
        .scalar_subquery()
    )
    session.execute(update(SearchRow).where(SearchRow.id == search_id).values(running=running))


def retry_failed(session: Session, search_id: str, moment: datetime) -> int:
    """Put every failed evaluation of a search back into the queue; how many there were."""
    numbers = session.scalars(
        update(EvaluationRow)
        .where(EvaluationRow.search_id == search_id, EvaluationRow.state == EvaluationState.FAILED)
        .values(
            state=EvaluationState.QUEUED,
            attempt=EvaluationRow.attempt + 1,
            sent_at=moment,
            sent_generation=None,
            worker=None,
            report=None,
            error=None,
            sequence=None,
            hypervolume=None,
            duration_seconds=None,
            started_at=None,
            finished_at=None,
        )
        .returning(EvaluationRow.number)
    ).all()
    return len(numbers)


def discard_unfinished(session: Session, search_id: str) -> None:
    """Delete the unfinished evaluations of a search that has ended."""
    session.execute(
        delete(EvaluationRow).where(
            EvaluationRow.search_id == search_id, EvaluationRow.finished_at.is_(None)
        )
    )
