"""All tables, imported for their effect on the metadata."""

from __future__ import annotations

from service.database import Table
from service.datasets.tables import DatasetRow
from service.exports.tables import ExportRow
from service.orphans.tables import InstallationRow, OrphanRow
from service.searches.tables import (
    CoordinatorRow,
    EvaluationRow,
    FrontPointRow,
    SearchEventRow,
    SearchRow,
)
from service.supernets.tables import SupernetRow
from service.workers.tables import WorkerRow

metadata = Table.metadata

__all__ = [
    "CoordinatorRow",
    "DatasetRow",
    "EvaluationRow",
    "ExportRow",
    "FrontPointRow",
    "InstallationRow",
    "OrphanRow",
    "SearchEventRow",
    "SearchRow",
    "SupernetRow",
    "WorkerRow",
    "metadata",
]
