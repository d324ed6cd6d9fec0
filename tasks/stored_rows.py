"""The one file format in which rows are stored: Parquet, the same bytes for the same rows.

Of tasks that do not prompt, with the columns ``text_a``, ``text_b`` (null without pairs) and
``label``. Of those that do, with ``texts`` (a struct whose fields are called as the user's
columns), ``choices`` (lists of texts, where rows have them) and ``label``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from elasticnas.tasks.rows import Labels, Rows

PAIR = ("text_a", "text_b")


def write_rows(rows: Rows, path: Path, *, keeps_columns: bool) -> None:
    """Write rows; with the user's names of the columns if their task ``keeps_columns``."""
    label = {"label": pa.array(rows.labels.tolist(), _type_of(rows.labels))}
    if keeps_columns:
        texts = [pa.array(column, pa.string()) for column in rows.texts.values()]
        columns = {"texts": pa.StructArray.from_arrays(texts, list(rows.texts))}
        if rows.choices is not None:
            columns["choices"] = pa.array(rows.choices, pa.list_(pa.string()))
    else:
        first, *rest = rows.texts.values()
        second = rest[0] if rest else [None] * len(rows)
        columns = {
            name: pa.array(column, pa.string())
            for name, column in zip(PAIR, (first, second), strict=True)
        }
    write_table(pa.table({**columns, **label}), path)


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table of rows."""
    pq.write_table(table, path, compression="zstd")


def read_rows(path: Path) -> Rows:
    """The rows of a stored file; texts are ``text_a``, ``text_b`` where no name is kept."""
    table = pq.read_table(path)
    texts = {}
    if "texts" in table.schema.names:
        struct = table["texts"].combine_chunks()
        texts = {
            field.name: struct.field(place).to_pylist() for place, field in enumerate(struct.type)
        }
    else:
        texts = {name: table[name].to_pylist() for name in PAIR}
        if all(text is None for text in texts["text_b"]):
            del texts["text_b"]
    choices = table["choices"].to_pylist() if "choices" in table.schema.names else None
    labels = table["label"]
    kept = (
        np.array(labels.to_pylist(), dtype=object)
        if pa.types.is_string(labels.type)
        else labels.to_numpy()
    )
    return Rows(texts, kept, choices)


def _type_of(labels: Labels) -> pa.DataType:
    """Of texts, which NumPy has as objects, strings."""
    return pa.string() if labels.dtype == object else pa.from_numpy_dtype(labels.dtype)
