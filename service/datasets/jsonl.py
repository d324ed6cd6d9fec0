"""JSON Lines: one object on each line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elasticnas.api_schemas.problems import InputError
from elasticnas.service.datasets.encoding import not_utf8
from elasticnas.tasks.columns import Columns, missing_column, require_room, shown


class _Repeated(dict[str, Any]):
    """A JSON object that has some keys twice."""

    keys_twice: frozenset[str] = frozenset()


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
            if isinstance(row, _Repeated):
                _require_once(row, names, number)
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
    return row


def _require_once(row: _Repeated, names: Sequence[str], number: int) -> None:
    """A key that nobody asks for may well be there twice."""
    for name in names:
        if name in row.keys_twice:
            raise InputError(
                "the object has a key twice",
                field=f"line {number}",
                value=shown(name),
                remedy="keep one value for each column",
            )


def _parsed(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object_of)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer of more digits than Python reads
        return json.loads(text, object_pairs_hook=_object_of, parse_int=float)


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) == len(pairs):
        return row
    repeated = _Repeated(row)
    counts = Counter(key for key, _ in pairs)
    repeated.keys_twice = frozenset(key for key, count in counts.items() if count > 1)
    return repeated
