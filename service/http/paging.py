"""Cursors: where the next page of a list begins."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from fastapi import Query
from pydantic import AwareDatetime, TypeAdapter

from elasticnas.api_schemas.fields import CursorText, Identity, Number
from elasticnas.api_schemas.paging import MAX_PAGE
from elasticnas.api_schemas.problems import InputError

Position = TypeVar("Position")

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="most items on a page")]
Cursor = Annotated[CursorText | None, Query(description="the `next_cursor` of the page before")]

_NEWEST: TypeAdapter[tuple[AwareDatetime, str]] = TypeAdapter(tuple[AwareDatetime, Identity])
_NUMBERED: TypeAdapter[tuple[int]] = TypeAdapter(tuple[Number])


def encode_cursor(*position: object) -> str:
    """An opaque cursor for a position in an order."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def number_of(cursor: str) -> int:
    """The number after which a page of numbered things begins.

    Raises:
        InputError: it is not a cursor of such a list.
    """
    return _decoded(cursor, _NUMBERED)[0]


def moment_and_id(cursor: str) -> tuple[datetime, str]:
    """The position after which a page of a list by age begins.

    Raises:
        InputError: it is not a cursor of such a list.
    """
    moment, identity = _decoded(cursor, _NEWEST)
    try:
        return moment.astimezone(UTC), identity
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
