"""Cursors: where the next page of a list begins."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import Query
from sqlalchemy import ColumnElement, Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from api_schemas.problems import InputError

Limit = Annotated[int, Query(ge=1, le=1000, description="most items on a page")]
Cursor = Annotated[
    str | None, Query(max_length=300, description="the `next_cursor` of the page before")
]


def encode_cursor(*position: object) -> str:
    """An opaque cursor for a position in an order."""
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> list[Any]:
    """The position that a cursor stands for.

    Raises:
        InputError: it is not a cursor of ours.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        position = json.loads(base64.urlsafe_b64decode(padded))
        if isinstance(position, list):
            return position
    except ValueError:
        pass
    raise _bad(cursor)


def newest_page(
    session: Session,
    query: Select[Any],
    created_at: InstrumentedAttribute[datetime],
    identity: InstrumentedAttribute[str],
    *,
    limit: int,
    cursor: str | None,
) -> tuple[list[Any], str | None]:
    """One page of ``query``, the newest first, and the cursor of the next."""
    if cursor is not None:
        try:
            moment, last = decode_cursor(cursor)
            before: ColumnElement[bool] = tuple_(created_at, identity) < tuple_(
                datetime.fromisoformat(moment), last
            )
        except (ValueError, TypeError) as error:
            raise _bad(cursor) from error
        query = query.where(before)
    query = query.order_by(created_at.desc(), identity.desc()).limit(limit + 1)
    rows = list(session.scalars(query))
    if len(rows) <= limit:
        return rows, None
    last_row = rows[limit - 1]
    moment = getattr(last_row, created_at.key)
    return rows[:limit], encode_cursor(moment.isoformat(), getattr(last_row, identity.key))


def _bad(cursor: str) -> InputError:
    return InputError(
        "this is not a cursor of this list",
        field="cursor",
        value=cursor,
        remedy="leave it out to begin at the first page",
    )
