"""The wanted columns of a file, each value with its place in the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from elasticnas.api_schemas.problems import InputError

SHOWN = 100
"""How many characters of a value an error repeats."""
LISTED = 30
"""How many of a file's columns an error lists."""


@dataclass
class Columns:
    """The values of the wanted columns; ``place(i)`` says where row i stands in the file.

    ``unit`` is ``line`` for JSONL, and ``row`` (after the header, from 1) for CSV and Parquet.
    Where the file ``has_types``, text is text; where it has none, all values are text.
    """

    values: dict[str, list[Any]]
    unit: str
    lines: list[int] = field(default_factory=list)
    """The line of each row, where the unit is the line."""
    has_types: bool = True

    def place(self, index: int) -> str:
        """``line 7`` or ``row 7``."""
        return f"{self.unit} {self.lines[index] if self.lines else index + 1}"

    def fault(
        self, name: str, index: int, kind: str, what: str, remedy: str | None = None
    ) -> InputError:
        """The error about a value: ``the label in line 7 is missing``."""
        return InputError(
            f"the {kind} in {self.place(index)} {what}",
            field=name,
            value=shown(self.values[name][index]),
            remedy=remedy,
        )


def shown(value: object) -> str:
    """A value as an error repeats it, short and in characters that every client can read."""
    return repr(value)[:SHOWN]


def missing_column(name: str, found: Sequence[str], where: str) -> InputError:
    """The error that names the columns that there are."""
    listed = ", ".join(repr(column) for column in found[:LISTED])
    more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return InputError(
        f"{where} has no such column", field=name, remedy=f"its columns are {listed}{more}"
    )


def require_columns(names: Sequence[str], found: Sequence[str], where: str) -> None:
    """Every wanted column is there, once.

    Raises:
        InputError: naming a column that is not, and those that are.
    """
    for name in names:
        if name not in found:
            raise missing_column(name, found, where)
        if found.count(name) > 1:
            raise InputError(f"{where} has this column twice", field=name)


def require_room(rows: int, most_rows: int | None) -> None:
    """No more rows than are allowed.

    Raises:
        InputError: there are more.
    """
    if most_rows is not None and rows > most_rows:
        raise InputError(f"the dataset has more than {most_rows} rows", field="file")
