"""Validation data as REST shows it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from api_schemas.metrics import Metric, Task


class DatasetRead(BaseModel):
    """A registered dataset.

    ``num_labels`` is one more than the largest class for classification, 1 for regression.
    ``label_names`` are there when the labels were text: class i is ``label_names[i]``.
    """

    id: str
    name: str
    task: Task
    metric: Metric
    rows: int
    text_columns: list[str]
    label_column: str
    num_labels: int
    label_names: list[str] | None
    digest: str
    created_at: datetime
