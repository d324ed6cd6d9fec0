"""The table of datasets."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from elasticnas.service.annotations import Annotatable
from elasticnas.service.database import Table
from elasticnas.service.principal import Owned
from elasticnas.tasks.task import LabelsOfDataset, RowsOfDataset


class DatasetRow(Annotatable, Owned, Table):
    """Registered validation data; the rows themselves are the blob ``digest``."""

    called = "dataset"
    __tablename__ = "datasets"
    __table_args__ = (Index("ix_datasets_owner_created_at_id", "owner", "created_at", "id"),)

    name: Mapped[str] = mapped_column(String(200))
    task: Mapped[str] = mapped_column(String(40))
    metric: Mapped[str] = mapped_column(String(40))
    rows: Mapped[int]
    text_columns: Mapped[list[Any]]
    label_column: Mapped[str] = mapped_column(String(200))
    """Empty where the task has no labels."""
    kind: Mapped[str | None] = mapped_column(String(40))
    choices_columns: Mapped[list[Any] | None]
    task_settings: Mapped[dict[str, Any] | None]
    """What searches say of the task unless they say otherwise."""
    num_labels: Mapped[int]
    label_names: Mapped[list[Any] | None]
    label_names_given: Mapped[bool] = mapped_column(default=False)
    """Whether the user gave the names in the order of classes; else they are the labels, sorted."""
    class_counts: Mapped[list[Any] | None]
    """How many rows are of each class; None where labels are no classes, or nobody counted."""
    digest: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)

    def known(self) -> RowsOfDataset:
        """What settings of its task are checked against."""
        return RowsOfDataset(
            tuple(self.text_columns),
            LabelsOfDataset(self.num_labels, self.label_names, self.label_names_given),
            has_choices=self.choices_columns is not None,
        )
