"""All tables, imported for their effect on the metadata."""

from __future__ import annotations

from service.database import Table
from service.datasets.tables import DatasetRow
from service.exports.tables import ExportRow
from service.searches.tables import EvaluationRow, FrontPointRow, SearchRow
from service.supernets.tables import SupernetRow
from service.workers.tables import WorkerRow

metadata = Table.metadata

__all__ = [
    "DatasetRow",
    "EvaluationRow",
    "ExportRow",
    "FrontPointRow",
    "SearchRow",
    "SupernetRow",
    "WorkerRow",
    "metadata",
]
