"""Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as kinds

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks.columns import Columns, require_columns, require_room


def read_parquet(
    path: Path, names: Sequence[str], nested: Sequence[str], most_rows: int | None
) -> Columns:
    """Read the named columns, of which ``nested`` ones may hold lists.

    Raises:
        InputError: the file is damaged, or a column is neither text nor numbers.
    """
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            require_columns(names, schema.names, "the file")
            require_room(file.metadata.num_rows, most_rows)
            wanted = {
                name: field.type if name in nested and _is_nested(field.type) else _plain(field)
                for name in names
                for field in (schema.field(name),)
            }
            table = file.read(columns=list(names))
        values = {}
        for name, kind in wanted.items():
            column = table[name].cast(kind)
            column.validate(full=True)
            values[name] = column.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"this Parquet file is damaged: {error}", field="file") from error
    return Columns(values, "row")


def _is_nested(kind: pa.DataType) -> bool:
    return bool(kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_struct(kind))


def _plain(column: pa.Field) -> pa.DataType:
    """The type that the values of a column are read as.

    Raises:
        InputError: they are nested, or moments, or bytes.
    """
    kind = column.type.value_type if kinds.is_dictionary(column.type) else column.type
    if kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind):
        return pa.large_string()
    if kinds.is_floating(kind) or kinds.is_decimal(kind):
        return pa.float64()
    if kinds.is_integer(kind) or kinds.is_boolean(kind) or kinds.is_null(kind):
        return kind
    raise InputError(
        "the column is neither text nor numbers",
        field=column.name,
        value=column.type,
        remedy="write it as strings, integers or floats",
    )
