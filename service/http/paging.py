"""Cursors: where the next page of a list begins."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from fastapi import Query
from pydantic import AwareDatetime, TypeAdapter

from elasticnas.api_schemas.fields import CursorText, Finite, Identity, Name, Number
from elasticnas.api_schemas.paging import MAX_PAGE
from elasticnas.api_schemas.problems import InputError

Position = TypeVar("Position")

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="most items on a page")]
Cursor = Annotated[CursorText | None, Query(description="the `next_cursor` of the page before")]


@dataclass(frozen=True)
class Place:
    """How the value by which a list is sorted stands in a cursor."""

    adapter: TypeAdapter[tuple[str, Any, str]]

    def text(self, value: Any) -> Any:
        """The value as JSON."""
        return value.isoformat() if isinstance(value, datetime) else value


MOMENT = Place(TypeAdapter(tuple[str, AwareDatetime, Identity]))
TEXT = Place(TypeAdapter(tuple[str, Name, Identity]))
FLOAT = Place(TypeAdapter(tuple[str, Finite, Identity]))

_NUMBERED: TypeAdapter[tuple[str, float, int]] = TypeAdapter(tuple[str, Finite, Number])


def encode_cursor(*position: object) -> str:
    """An opaque cursor for a position in an order."""
    return (
        base64.urlsafe_b64encode(json.dumps(position, ensure_ascii=False).encode())
        .decode()
        .rstrip("=")
    )


def value_and_number(cursor: str, order: str) -> tuple[float, int]:
    """The value and the number behind which a page of numbered things in this order begins.

    Raises:
        InputError: it is not a cursor of such a list.
    """
    name, value, number = _decoded(cursor, _NUMBERED)
    if name != order:
        raise _bad(cursor)
    return value, number


def place_of(cursor: str, order: str, place: Place) -> tuple[Any, str]:
    """The value and the id behind which a page of a list in this order begins.

    Raises:
        InputError: it is not a cursor of such a list.
    """
    name, value, identity = _decoded(cursor, place.adapter)
    if name != order:
        raise _bad(cursor)
    try:
        return value.astimezone(UTC) if isinstance(value, datetime) else value, identity
    except OverflowError as error:  # within a day of the first or the last year
        raise _bad(cursor) from error


def _decoded(cursor: str, position: TypeAdapter[Position]) -> Position:
    """The position that a cursor stands for."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return position.validate_json(base64.urlsafe_b64decode(padded), strict=True)
    except ValueError as error:  # neither Base64, nor JSON, nor a position of this list
        raise _bad(cursor) from error


def _bad(cursor: str) -> InputError:
    return InputError(
        "this is not a cursor of this list",
        field="cursor",
        value=cursor,
        remedy="leave it out to begin at the first page",
    )
