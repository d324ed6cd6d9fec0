"""JSON Lines: one object on each line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from api_schemas.problems import InputError
from service.datasets.columns import Columns, missing_column, require_room
from service.datasets.encoding import not_utf8


class _Repeated(dict[str, Any]):
    """A JSON object that has some key twice."""


def read_jsonl(path: Path, names: Sequence[str], most_rows: int | None) -> Columns:
    """Read the named columns.

    Raises:
        InputError: a line is not an object with these columns, each once.
    """
    values: dict[str, list[Any]] = {name: [] for name in names}
    lines: list[int] = []
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            if not raw.strip():
                continue
            row = _object(raw, number)
            for name in names:
                if name not in row:
                    raise missing_column(name, list(row), f"line {number}")
                values[name].append(row[name])
            lines.append(number)
            require_room(len(lines), most_rows)
    return Columns(values, "line", lines)


def _object(raw: bytes, number: int) -> dict[str, Any]:
    where = f"line {number}"
    try:
        text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(error, where) from error
    try:
        row = _parsed(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"this is not JSON: {error}",
            field=where,
            remedy="send JSON Lines: one whole object on each line",
        ) from error
    except RecursionError as error:
        raise InputError("this JSON is nested too deeply", field=where) from error
    if not isinstance(row, dict):
        raise InputError("this is not a JSON object", field=where)
    if isinstance(row, _Repeated):
        raise InputError(
            "the object has a key twice", field=where, remedy="keep one value for each column"
        )
    return row


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object_of)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer of more digits than Python reads
        return json.loads(text, object_pairs_hook=_object_of, parse_int=float)


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    return row if len(row) == len(pairs) else _Repeated(row)
