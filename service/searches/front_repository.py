"""All SQL about Pareto fronts: who is on them, and since when."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Row,
    Select,
    inspect,
    select,
    update,
)
from sqlalchemy.orm import Session

from elasticnas.service.searches.tables import EvaluationRow, FrontPointRow, SearchRow


def members(session: Session, search_id: str) -> set[int]:
    """The numbers of the evaluations on the Pareto front now."""
    return set(session.scalars(numbers_now(search_id)))


def points(session: Session, search_id: str) -> Sequence[Row[Any]]:
    """The evaluations on the Pareto front now, by number.

    Each has the columns of an `EvaluationRow`, but for deferred ones, and is none: of a large front
    most of the time would go into instances that the session watches. The numbers are a subquery
    because SQLite, joining, walks through all evaluations of the search in the order asked for.
    """
    columns = [
        getattr(EvaluationRow, each.key)
        for each in inspect(EvaluationRow).column_attrs
        if not each.deferred
    ]
    return session.execute(
        select(*columns)
        .where(
            EvaluationRow.search_id == search_id, EvaluationRow.number.in_(numbers_now(search_id))
        )
        .order_by(EvaluationRow.number)
    ).all()


def unverified(session: Session, search_id: str) -> Sequence[Row[Any]]:
    """The evaluations on the Pareto front that were not measured once more yet, by number."""
    return [row for row in points(session, search_id) if row.verified is None]


def enter(session: Session, row: FrontPointRow) -> None:
    """An evaluation is on the front from now on."""
    session.add(row)


def leave(
    session: Session, search_id: str, numbers: Collection[int], sequence: int, moment: datetime
) -> None:
    """The evaluation that finished as ``sequence`` drove these out of the front."""
    session.execute(
        update(FrontPointRow)
        .where(
            FrontPointRow.search_id == search_id,
            FrontPointRow.number.in_(numbers),
            FrontPointRow.left_at.is_(None),
        )
        .values(left_sequence=sequence, left_at=moment)
    )


def best_on_front(session: Session, search_ids: Collection[str]) -> set[str]:
    """The searches among these whose best evaluation is on the Pareto front now."""
    return set(
        session.scalars(
            select(SearchRow.id)
            .join(
                FrontPointRow,
                (FrontPointRow.search_id == SearchRow.id)
                & (FrontPointRow.number == SearchRow.best_number),
            )
            .where(SearchRow.id.in_(search_ids), FrontPointRow.left_at.is_(None))
        )
    )


def gains(session: Session, search_ids: Collection[str]) -> dict[str, list[tuple[int, float]]]:
    """By search, (sequence, hypervolume) of each result that has entered its front, in order."""
    row = EvaluationRow
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    rows = session.execute(
        select(row.search_id, row.sequence, row.hypervolume)
        .join(
            FrontPointRow,
            (FrontPointRow.search_id == row.search_id) & (FrontPointRow.number == row.number),
        )
        .where(FrontPointRow.search_id.in_(search_ids), row.sequence.is_not(None))
    )
    for search_id, sequence, hypervolume in sorted(rows, key=lambda each: (each[0], each[1])):
        found[search_id].append((sequence or 0, hypervolume or 0.0))
    return found


def retry_verification(session: Session, search_id: str) -> int:
    """Have every front member verified whose verification failed; how many there were."""
    found = points(session, search_id)
    numbers = [each.number for each in found if "problem" in (each.verified or {})]
    session.execute(
        update(EvaluationRow)
        .where(EvaluationRow.numbered(search_id, numbers))
        .values(verified=None, verify_attempt=EvaluationRow.verify_attempt + 1)
    )
    return len(numbers)


def numbers_now(search_id: str) -> Select[int]:
    """The statement for the numbers of the evaluations on the front now."""
    return select(FrontPointRow.number).where(
        FrontPointRow.search_id == search_id, FrontPointRow.left_at.is_(None)
    )
