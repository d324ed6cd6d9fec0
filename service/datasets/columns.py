"""The columns of a JSONL, CSV or Parquet file, each value with its place in the file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from api_schemas.problems import InputError


@dataclass(frozen=True)
class Columns:
    """The values of the wanted columns; ``place(i)`` says where row i stands in the file."""

    values: dict[str, list[Any]]
    unit: str
    first: int
    lines: list[int] | None = None

    def place(self, index: int) -> str:
        """``line 7`` of JSONL, ``row 7`` of CSV (after the header) and Parquet; from 1."""
        number = index + self.first if self.lines is None else self.lines[index]
        return f"{self.unit} {number}"


def read_columns(path: Path, names: Sequence[str]) -> Columns:
    """Read the named columns; the format is told from the content.

    Raises:
        InputError: the file is empty or damaged, or lacks a column. The error names the line.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    if not head.strip():
        raise InputError("the dataset is empty", field="file", remedy="send at least one row")
    if head.startswith(b"PAR1"):
        return _parquet(path, names)
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if first == b"{":
        return _jsonl(path, names)
    if first == b"[":
        raise InputError(
            "this is a JSON array",
            field="file",
            remedy="send JSON Lines: one object on each line, without brackets or commas between",
        )
    return _csv(path, names, tabs=b"\t" in head.split(b"\n", 1)[0])


def _missing(name: str, found: Sequence[str], where: str) -> InputError:
    return InputError(
        f"{where} has no such column",
        field=name,
        remedy=f"its columns are {', '.join(repr(column) for column in found)}",
    )


def _jsonl(path: Path, names: Sequence[str]) -> Columns:
    values: dict[str, list[Any]] = {name: [] for name in names}
    lines: list[int] = []
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            try:
                row = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
            except ValueError as error:
                raise InputError(f"this is not JSON: {error}", field=f"line {number}") from error
            if not isinstance(row, dict):
                raise InputError("this is not a JSON object", field=f"line {number}")
            for name in names:
                if name not in row:
                    raise _missing(name, list(row), f"line {number}")
                values[name].append(row[name])
            lines.append(number)
    return Columns(values, "line", 1, lines)


def _csv(path: Path, names: Sequence[str], *, tabs: bool) -> Columns:
    """CSV with a header, or tab-separated when the header has tabs. Every value stays text."""
    options = pyarrow.csv.ParseOptions(
        delimiter="\t" if tabs else ",", quote_char=False if tabs else '"', newlines_in_values=True
    )
    try:
        with pyarrow.csv.open_csv(path, parse_options=options) as reader:
            header = reader.schema.names
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise InputError(f"this is not CSV: {error}", field="file") from error
    for name in names:
        if name not in header:
            raise _missing(name, header, "the header")
        if header.count(name) > 1:
            raise InputError("the header has this column twice", field=name)
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        include_columns=list(names),
        strings_can_be_null=False,
    )
    try:
        table = pyarrow.csv.read_csv(path, parse_options=options, convert_options=convert)
    except pa.ArrowInvalid as error:
        raise InputError(f"this is not CSV: {error}", field="file") from error
    return Columns({name: table[name].to_pylist() for name in names}, "row", 1)


def _parquet(path: Path, names: Sequence[str]) -> Columns:
    try:
        schema = pq.read_schema(path)
        for name in names:
            if name not in schema.names:
                raise _missing(name, schema.names, "the file")
        table = pq.read_table(path, columns=list(names))
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"this Parquet file is damaged: {error}", field="file") from error
    return Columns({name: table[name].to_pylist() for name in names}, "row", 1)
