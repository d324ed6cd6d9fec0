"""Evaluations as columns: a list of values for each field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.points import PointField


def stored_in(name: str) -> str:
    """The column of the table that holds a field: a `PointField`, a cost or a metric."""
    if name in list(PointField):
        return name
    return "cost" if name in list(Cost) else "metrics"


def column(rows: Sequence[Any], name: str) -> list[Any]:
    """The values of one field, of all rows; None where a row has none."""
    stored = stored_in(name)
    values = [getattr(row, stored) for row in rows]
    if stored == name:
        return values
    return [None if each is None else each.get(name) for each in values]
