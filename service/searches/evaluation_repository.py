"""All SQL about what evaluations are and have measured."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    JSON,
    ColumnElement,
    Row,
    Text,
    cast,
    func,
    null,
    select,
    tuple_,
)
from sqlalchemy.orm import Session, undefer

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.searches import EvaluationState
from elasticnas.service.searches import front_repository as fronts
from elasticnas.service.searches.columns import Recorded
from elasticnas.service.searches.tables import EvaluationRow, SearchRow
from elasticnas.service.stored_json import read_all

MEASURED = (EvaluationState.COMPLETED, EvaluationState.GIVEN_UP)
"""States of an evaluation that did not fail: measured on every row, or on some."""


def of_search(
    session: Session, search_id: str, *, with_hits: bool = False
) -> Sequence[EvaluationRow]:
    """Every evaluation of a search, by number."""
    query = select(EvaluationRow).where(EvaluationRow.search_id == search_id)
    if with_hits:
        query = query.options(undefer(EvaluationRow.hits))
    return session.scalars(query.order_by(EvaluationRow.number)).all()


def placed(session: Session, search_id: str, number: int) -> EvaluationRow:
    """An evaluation that the caller knows to be there."""
    return session.get_one(EvaluationRow, (search_id, number))


def of_number(session: Session, search_id: str, number: int) -> EvaluationRow | None:
    """One evaluation of a search."""
    return session.get(EvaluationRow, (search_id, number))


@dataclass(frozen=True)
class Wanted:
    """Which evaluations of a search a list is of, and by what it is sorted.

    ``sort`` is ``number``, a cost or a metric, with a hyphen from the largest; a list by a metric
    is of those that have it. ``at_most`` and ``at_least`` are bounds on costs and metrics.
    """

    states: Collection[EvaluationState] = ()
    on_front: bool = False
    at_most: Mapping[str, float] = field(default_factory=dict)
    at_least: Mapping[str, float] = field(default_factory=dict)
    sort: str = "number"

    def conditions(self, search_id: str) -> Iterator[ColumnElement[bool]]:
        """What must hold of a row."""
        yield EvaluationRow.search_id == search_id
        if self.states:
            yield EvaluationRow.state.in_(self.states)
        if self.on_front:
            yield EvaluationRow.number.in_(fronts.numbers_now(search_id))
        for name, bound in self.at_most.items():
            yield _measured(name) <= bound
        for name, bound in self.at_least.items():
            yield _measured(name) >= bound

    @property
    def falls(self) -> bool:
        """Whether the largest come first."""
        return self.sort.startswith("-")

    @property
    def key(self) -> ColumnElement[Any]:
        """What the list is sorted by."""
        name = self.sort.removeprefix("-")
        return EvaluationRow.number.expression if name == "number" else _measured(name)


def with_outcomes(
    session: Session, search_id: str, numbers: Collection[int]
) -> dict[int, EvaluationRow]:
    """These evaluations by number, with what is kept of single rows."""
    rows = session.scalars(
        select(EvaluationRow)
        .where(EvaluationRow.numbered(search_id, numbers))
        .options(undefer(EvaluationRow.hits), undefer(EvaluationRow.resamples))
    )
    return {row.number: row for row in rows}


def page(
    session: Session,
    search_id: str,
    wanted: Wanted,
    *,
    after: tuple[float, int] | None,
    limit: int,
) -> list[tuple[EvaluationRow, float]]:
    """At most ``limit`` evaluations in order, each with the value that it is sorted by.

    ``after`` are that value and the number of the last one of the page before.
    """
    key, number = wanted.key, EvaluationRow.number.expression
    places = (number,) if wanted.sort.removeprefix("-") == "number" else (key, number)
    query = select(EvaluationRow, key).where(*wanted.conditions(search_id), key.is_not(None))
    if after is not None:
        here, last = tuple_(*places), tuple_(*after[-len(places) :])
        query = query.where(here < last if wanted.falls else here > last)
    query = query.order_by(*(each.desc() if wanted.falls else each.asc() for each in places))
    return [(row, value) for row, value in session.execute(query.limit(limit))]


def _measured(name: str) -> ColumnElement[Any]:
    """A cost or a metric of an evaluation."""
    column = EvaluationRow.cost if name in frozenset(Cost) else EvaluationRow.metrics
    value: ColumnElement[Any] = column[name].as_float()
    return value


def recorded(
    session: Session, search_id: str, columns: Collection[str], *, after: int, limit: int
) -> Recorded:
    """At most ``limit`` results beyond the ``after``-th, in the order in which they were recorded.

    There may be tens of thousands: no other columns are read, they are read from the table and not
    through the mapping, and a column of JSON is parsed in one go.
    """
    table = EvaluationRow.__table__.c
    names = sorted({*columns, "sequence"})
    texts = {name for name in names if isinstance(table[name].type, JSON)}
    rows = session.execute(
        select(*(cast(table[name], Text) if name in texts else table[name] for name in names))
        .where(table.search_id == search_id, table.sequence > after)
        .order_by(table.sequence)
        .limit(limit + 1)
    ).all()
    by_name = zip(*rows[:limit], strict=True) if rows else ((),) * len(names)
    stored = dict(zip(names, by_name, strict=True))
    return Recorded(
        {name: read_all(each) if name in texts else each for name, each in stored.items()},
        more=len(rows) > limit,
    )


def sample(session: Session, search_id: str, *, stride: int) -> Sequence[Row[Any]]:
    """Every ``stride``-th measured evaluation and the reference subnets, by number.

    Each as (number, sequence, origin, choices, metrics, given_up, rungs, cost, hypervolume).
    """
    row = EvaluationRow
    return session.execute(
        select(
            row.number,
            row.sequence,
            row.origin,
            row.choices,
            row.metrics,
            row.given_up,
            row.rungs,
            row.cost,
            row.hypervolume,
        )
        .where(
            row.search_id == search_id,
            row.state.in_(MEASURED),
            (row.number % stride == 0) | row.origin.in_(("maximal", "minimal", "heuristic")),
        )
        .order_by(row.number)
    ).all()


def best(session: Session, search_ids: Collection[str]) -> Sequence[EvaluationRow]:
    """The best evaluation so far of each of these searches that has one.

    A join, not pairs of (search id, number): for those SQLite reads every evaluation of the search.
    """
    return session.scalars(
        select(EvaluationRow)
        .join(
            SearchRow,
            (SearchRow.id == EvaluationRow.search_id)
            & (SearchRow.best_number == EvaluationRow.number),
        )
        .where(SearchRow.id.in_(search_ids))
    ).all()


@dataclass(frozen=True)
class Known:
    """What an earlier evaluation of a subnet has found; ``hits`` where that search raced.

    ``weights`` is the digest of its trained weights, where they are kept.
    """

    metrics: dict[str, float]
    hits: dict[str, Any] | None
    weights: str | None


def measured(
    session: Session, search: SearchRow, keys: Collection[str], *, with_hits: bool = False
) -> dict[tuple[str, str | None], Known]:
    """What is known by subnet key and the weights that its training began with, of those measured
    before under equal conditions by the same owner: an answer of another owner's search would tell
    of that search.

    With their hits if asked for, which are None where no search that measured them raced.
    """
    if not keys:
        return {}
    # Looked up by key before anything is joined: SQLite, which may otherwise begin at the search,
    # would read every evaluation of it for a few keys.
    found = (
        select(
            EvaluationRow.search_id,
            EvaluationRow.subnet_key,
            EvaluationRow.metrics,
            EvaluationRow.hits if with_hits else null().label("hits"),
            EvaluationRow.start_weights,
            EvaluationRow.weights,
            EvaluationRow.finished_at,
        )
        .where(
            EvaluationRow.subnet_key.in_(keys),
            EvaluationRow.state == EvaluationState.COMPLETED,
            EvaluationRow.precision == search.precision,
        )
        .cte("found")
        .prefix_with("MATERIALIZED")
    )
    rows = session.execute(
        select(
            found.c.subnet_key,
            found.c.start_weights,
            found.c.metrics,
            found.c.hits,
            found.c.weights,
        )
        .join(SearchRow, SearchRow.id == found.c.search_id)
        .where(
            SearchRow.owner == search.owner,
            SearchRow.conditions_key == search.conditions_key,
        )
        .order_by(found.c.hits.is_not(None), found.c.finished_at.desc())
    )
    # The last of each stays: with hits, if there are any, and of those the earliest.
    return {
        (key, start): Known(metrics, hits, weights)
        for key, start, metrics, hits, weights in rows
        if metrics is not None
    }


def weights(session: Session) -> set[str]:
    """The digests of all trained weights that searches keep, that trainings have begun with, and
    that they go on from."""
    row = EvaluationRow
    # By their searches, which are few and found by an index: most evaluations train nothing.
    found = session.execute(
        select(row.weights, row.start_weights, row.training_state)
        .join(SearchRow, SearchRow.id == row.search_id)
        .where(
            SearchRow.train_dataset_id.is_not(None),
            row.weights.is_not(None)
            | row.start_weights.is_not(None)
            | row.training_state.is_not(None),
        )
    )
    return {digest for each in found for digest in each if digest is not None}


def mean_seconds(session: Session, search_id: str) -> float | None:
    """How long a measured evaluation of the search takes on average."""
    mean: float | None = session.scalars(
        select(func.avg(EvaluationRow.duration_seconds)).where(
            EvaluationRow.search_id == search_id,
            EvaluationRow.state.in_(MEASURED),
            EvaluationRow.cached.is_(False),
        )
    ).one()
    return mean


def last_error(session: Session, search_id: str) -> dict[str, Any] | None:
    """The problem of the evaluation that failed last."""
    return session.scalars(
        select(EvaluationRow.error)
        .where(EvaluationRow.search_id == search_id, EvaluationRow.state == EvaluationState.FAILED)
        .order_by(EvaluationRow.sequence.desc())
        .limit(1)
    ).one_or_none()


def add(session: Session, row: EvaluationRow) -> None:
    """Place an evaluation."""
    session.add(row)
