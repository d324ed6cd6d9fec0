"""The rows of a dataset, and the one file format that they are stored in."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from elasticnas.service.blobs import BlobStore
from elasticnas.tasks import Task
from elasticnas.tasks.rows import Rows
from elasticnas.tasks.stored_rows import write_rows, write_table
from elasticnas.tasks.task import LabelsOfDataset, RowsOfDataset


@dataclass(frozen=True)
class DatasetRows:
    """Rows in the order of the file.

    ``label_names[i]`` is what class i was called, where the labels were names.
    """

    task: Task
    rows: Rows
    label_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_labels(self) -> int:
        """How many outputs of a head they need: see `Task.num_labels`."""
        return self.task.num_labels(self.rows)

    @property
    def class_counts(self) -> list[int] | None:
        """How many rows are of each class; None where labels are no classes."""
        if self.task.label_type != "int64" or self.task.has_choices or not self.task.has_labels:
            return None
        return [int(count) for count in np.bincount(self.rows.labels, minlength=self.num_labels)]

    def known(self) -> RowsOfDataset:
        """What a search is checked against."""
        return RowsOfDataset(
            self.rows.columns,
            LabelsOfDataset(self.num_labels, self.label_names, names_given=False),
            has_choices=self.rows.choices is not None,
        )


def write_canonical(rows: DatasetRows, path: Path) -> None:
    """Write the file that is stored.

    The same rows make the same bytes, so that they have one digest however they were sent.
    """
    write_rows(rows.rows, path, keeps_columns=rows.task.keeps_columns)


def relabel(stored: Path, classes: Sequence[int], path: Path) -> None:
    """Write the rows of a stored file with label i turned into ``classes[i]``.

    The file is the very one that `write_canonical` makes of rows with these labels.
    """
    table = pq.read_table(stored)
    labels = pa.array(classes, pa.int64()).take(table["label"].combine_chunks())
    place = table.schema.get_field_index("label")
    write_table(table.set_column(place, "label", labels), path)


def relabelled(blobs: BlobStore, digest: str, classes: Sequence[int], scratch: Path) -> str:
    """The digest of a dataset whose label i is ``classes[i]``, stored if need be."""
    if list(classes) == list(range(len(classes))):
        return digest
    with tempfile.TemporaryDirectory(dir=scratch, prefix="dataset-") as folder:
        path = Path(folder) / "relabelled"
        with blobs.lease(digest) as stored:
            relabel(stored, classes, path)
        return blobs.store(path)[0]
