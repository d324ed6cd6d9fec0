"""All tables: importing them registers each in the metadata."""

from __future__ import annotations

from elasticnas.service.database import Table
from elasticnas.service.datasets.tables import DatasetRow
from elasticnas.service.exports.tables import ExportRow
from elasticnas.service.jobs.tables import JobEventRow, JobRow, StepRow
from elasticnas.service.orphans.tables import InstallationRow, OrphanRow
from elasticnas.service.overview.tables import OwnerEventCountRow, OwnerEventRow
from elasticnas.service.searches.tables import (
    CoordinatorRow,
    EvaluationRow,
    FrontPointRow,
    SearchEventRow,
    SearchRow,
)
from elasticnas.service.supernets.tables import SupernetRow
from elasticnas.service.workers.tables import WorkerRow

metadata = Table.metadata

__all__ = [
    "CoordinatorRow",
    "DatasetRow",
    "EvaluationRow",
    "ExportRow",
    "FrontPointRow",
    "InstallationRow",
    "JobEventRow",
    "JobRow",
    "OrphanRow",
    "OwnerEventCountRow",
    "OwnerEventRow",
    "SearchEventRow",
    "SearchRow",
    "StepRow",
    "SupernetRow",
    "WorkerRow",
    "metadata",
]
