"""The SQL that lists have in common: which rows, in which order, from where on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, Text, func, or_, tuple_, type_coerce
from sqlalchemy.orm import Session

from elasticnas.service import repository
from elasticnas.service.annotations import Annotatable
from elasticnas.service.http.paging import FLOAT, MOMENT, TEXT, Place, encode_cursor, place_of
from elasticnas.service.principal import Owned, Principal

Row = TypeVar("Row", bound=Owned)


@dataclass(frozen=True)
class Order:
    """An order of a table's rows, by a column and then by id; ``place`` reads it from a cursor."""

    name: str
    column: ColumnElement[Any]
    place: Place

    @property
    def falls(self) -> bool:
        """Whether the largest comes first."""
        return self.name.startswith("-")

    def after(self, table: type[Owned], cursor: str) -> ColumnElement[bool]:
        """What holds of the rows behind those that a cursor ends."""
        last = tuple_(*place_of(cursor, self.name, self.place))
        here = tuple_(self.column, table.id)
        return here < last if self.falls else here > last

    def sort(self, query: Select[Any], table: type[Owned]) -> Select[Any]:
        """The rows of a query in this order."""
        keys = (self.column, table.id)
        return query.order_by(*(key.desc() if self.falls else key.asc() for key in keys))


def order_of(table: type[Owned], name: str, columns: Mapping[str, Any]) -> Order:
    """The order of this name: by age, name, or a number among ``columns``."""
    field = name.removeprefix("-")
    if field == "created_at":
        return Order(name, table.created_at.expression, MOMENT)
    if field == "name":
        return Order(name, func.lower(func.coalesce(columns["name"], "")), TEXT)
    return Order(name, columns[field], FLOAT)


def page(
    session: Session,
    principal: Principal,
    table: type[Row],
    conditions: Sequence[ColumnElement[bool]],
    order: Order,
    *,
    limit: int,
    cursor: str | None,
) -> tuple[list[Row], str | None]:
    """One page of the principal's rows for which the conditions hold, and the cursor of the next.

    Raises:
        InputError: the cursor is not of this list in this order.
    """
    found = placed(session, principal, table, conditions, order, limit=limit, cursor=cursor)
    return page_of(found, order, limit)


def placed(
    session: Session,
    principal: Principal,
    table: type[Row],
    conditions: Sequence[ColumnElement[bool]],
    order: Order,
    *,
    limit: int,
    cursor: str | None,
) -> list[tuple[Row, Any]]:
    """The rows of a page, each with the value that it is sorted by, and one more if another page
    follows."""
    query: Select[Any] = repository.readable(principal, table).where(*conditions)
    if cursor is not None:
        query = query.where(order.after(table, cursor))
    query = order.sort(query.add_columns(order.column), table)
    return [(row, value) for row, value in session.execute(query.limit(limit + 1))]


def page_of(found: list[tuple[Row, Any]], order: Order, limit: int) -> tuple[list[Row], str | None]:
    """The page that these begin with, and the cursor of the next."""
    rows = [row for row, _ in found[:limit]]
    if len(found) <= limit:
        return rows, None
    last, value = found[limit - 1]
    return rows, encode_cursor(order.name, order.place.text(value), last.id)


def holds_text(text: str | None, *columns: Any) -> list[ColumnElement[bool]]:
    """One of the columns holds this text, in any case."""
    if text is None:
        return []
    sought = text.lower()
    texts = (func.lower(type_coerce(column, Text)) for column in columns)
    return [or_(*(each.contains(sought, autoescape=True) for each in texts))]


def has_tag(table: type[Annotatable], tag: str | None) -> list[ColumnElement[bool]]:
    """The row has this tag."""
    if tag is None:
        return []
    return [type_coerce(table.tags, Text).contains(f"\n{tag}\n", autoescape=True)]


def is_one_of(column: Any, values: Sequence[Any] | None) -> list[ColumnElement[bool]]:
    """The column has one of these values, if any are asked for."""
    return [] if not values else [column.in_(values)]
