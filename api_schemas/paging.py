"""Cursor-paginated lists."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel

Item = TypeVar("Item")

MAX_PAGE = 1000
"""The most items on a page."""


class Page(BaseModel, Generic[Item]):
    """One page of a list; ``next_cursor`` is None on the last."""

    items: list[Item]
    next_cursor: str | None = None
