"""All SQL about the installation and its orphans."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from elasticnas.service.orphans.tables import THE_ONLY, InstallationRow, OrphanRow

AT_ONCE = 500
"""Digests in one statement; databases limit how many parameters it may have."""


def installation(session: Session, *, lock: bool = False) -> InstallationRow:
    """The row of this installation; ``lock`` keeps it from other transactions until the end."""
    query = select(InstallationRow).where(InstallationRow.key == THE_ONLY)
    return session.scalars(query.with_for_update() if lock else query).one()


def marks(session: Session) -> Mapping[str, datetime]:
    """Every marked blob, and when it was marked."""
    rows = session.execute(select(OrphanRow.digest, OrphanRow.marked_at))
    return {row.digest: row.marked_at for row in rows}


def mark(session: Session, digests: Collection[str], moment: datetime) -> None:
    """Mark blobs that have no mark yet."""
    if digests:
        rows = [{"digest": digest, "marked_at": moment} for digest in sorted(digests)]
        session.execute(insert(OrphanRow), rows)


def unmark(session: Session, digests: Collection[str] | None = None) -> None:
    """Take the marks off these blobs; None takes off all."""
    if digests is None:
        session.execute(delete(OrphanRow))
        return
    ordered = sorted(digests)
    for start in range(0, len(ordered), AT_ONCE):
        part = ordered[start : start + AT_ONCE]
        session.execute(delete(OrphanRow).where(OrphanRow.digest.in_(part)))
