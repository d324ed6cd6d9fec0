"""The SQL that asks of several tables at once whether anything waits for a worker."""

from __future__ import annotations

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from elasticnas.api_schemas.jobs import JobState
from elasticnas.api_schemas.supernets import SupernetState
from elasticnas.service.exports.tables import ExportRow, ExportState
from elasticnas.service.jobs.tables import JobRow
from elasticnas.service.supernets.tables import SupernetRow


def anything_waits(session: Session) -> bool:
    """Whether a checkpoint is to be read, a subnet to be exported, or a job to be gone on with."""
    waits = or_(
        exists().where(SupernetRow.state == SupernetState.READING),
        exists().where(ExportRow.state == ExportState.PENDING),
        exists().where(JobRow.state.in_(JobState.unfinished())),
    )
    return session.execute(select(waits)).scalar_one()
