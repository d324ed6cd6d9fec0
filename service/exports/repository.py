"""All SQL about exports."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from elasticnas.api_schemas.messages import SubnetExported
from elasticnas.api_schemas.weights import WeightsFormat
from elasticnas.service.database import now
from elasticnas.service.exports.tables import ExportRow, ExportState


def of_subnet(
    session: Session, search_id: str, number: int, weights_format: WeightsFormat
) -> ExportRow | None:
    """The export of one evaluation in one format."""
    return session.scalars(
        select(ExportRow).where(
            ExportRow.search_id == search_id,
            ExportRow.number == number,
            ExportRow.format == weights_format,
        )
    ).one_or_none()


def all_of_subnet(session: Session, search_id: str, number: int) -> Sequence[ExportRow]:
    """The exports of one evaluation, in any format."""
    return session.scalars(
        select(ExportRow).where(ExportRow.search_id == search_id, ExportRow.number == number)
    ).all()


def add(session: Session, row: ExportRow) -> None:
    """Have a worker build an export."""
    session.add(row)


def remove(session: Session, row: ExportRow) -> None:
    """Forget an export, so that it can be asked for again."""
    session.delete(row)
    session.flush()


def by_id(session: Session, export_id: str, *, lock: bool = False) -> ExportRow | None:
    """An export of any owner; None when it was deleted meanwhile.

    With `lock`, no other transaction changes it before this one ends.
    """
    return session.get(ExportRow, export_id, with_for_update=lock)


def subnets(session: Session, export_ids: Collection[str]) -> dict[str, tuple[str, int]]:
    """The search and the number of the evaluation that each of these exports is of."""
    if not export_ids:
        return {}
    rows = session.execute(
        select(ExportRow.id, ExportRow.search_id, ExportRow.number).where(
            ExportRow.id.in_(export_ids)
        )
    )
    return {row.id: (row.search_id, row.number) for row in rows}


def pending(session: Session) -> Sequence[ExportRow]:
    """The exports that no worker has finished."""
    return session.scalars(select(ExportRow).where(ExportRow.state == ExportState.PENDING)).all()


def mark_sent(session: Session, export_id: str, generation: str) -> None:
    """A message carries it now, in a queue that outlives this process."""
    session.execute(
        update(ExportRow).where(ExportRow.id == export_id).values(sent_generation=generation)
    )


def digests(session: Session) -> set[str]:
    """The archives of all finished exports."""
    found = session.scalars(select(ExportRow.digest).where(ExportRow.digest.is_not(None)))
    return {digest for digest in found if digest is not None}


def record(session: Session, result: SubnetExported) -> None:
    """Keep a worker's result. The first wins; no effect when the export was deleted."""
    values: dict[str, Any] = {"finished_at": now()}
    if result.digest is not None:
        values |= {
            "state": ExportState.READY,
            "digest": result.digest,
            "size_bytes": result.size_bytes,
        }
    else:
        problem = None if result.problem is None else result.problem.model_dump(mode="json")
        values |= {"state": ExportState.FAILED, "problem": problem}
    session.execute(
        update(ExportRow)
        .where(ExportRow.id == result.export_id, ExportRow.state == ExportState.PENDING)
        .values(**values)
    )
