"""All SQL about the events of searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from elasticnas.service.searches.tables import SearchEventRow


def add(session: Session, row: SearchEventRow) -> None:
    """Keep an event."""
    session.add(row)


def since(session: Session, numbers: Mapping[str, int], *, limit: int) -> Sequence[SearchEventRow]:
    """At most ``limit`` events of several searches, of each those beyond the number given."""
    if not numbers:
        return []
    return session.scalars(
        select(SearchEventRow)
        .where(
            or_(
                *(
                    and_(SearchEventRow.search_id == search_id, SearchEventRow.number > number)
                    for search_id, number in numbers.items()
                )
            )
        )
        .order_by(SearchEventRow.search_id, SearchEventRow.number)
        .limit(limit)
    ).all()
