"""All SQL about evaluations and front points."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    delete,
    func,
    inspect,
    null,
    select,
    tuple_,
    update,
)
from sqlalchemy.orm import Session, undefer

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.messages import SubnetOutcome
from elasticnas.api_schemas.searches import EvaluationState
from elasticnas.service.database import clock_in_sql
from elasticnas.service.searches.tables import EvaluationRow, FrontPointRow, SearchRow

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
            yield EvaluationRow.number.in_(_front(search_id))
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
        .where(EvaluationRow.search_id == search_id, EvaluationRow.number.in_(numbers))
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
) -> Sequence[Row[Any]]:
    """At most ``limit`` results beyond the ``after``-th, in the order in which they were recorded.

    Each has these columns and ``sequence``; no others are read, as there may be very many.
    """
    wanted = [getattr(EvaluationRow, name) for name in sorted({*columns, "sequence"})]
    return session.execute(
        select(*wanted)
        .where(EvaluationRow.search_id == search_id, EvaluationRow.sequence > after)
        .order_by(EvaluationRow.sequence)
        .limit(limit)
    ).all()


def sample(session: Session, search_id: str, *, stride: int) -> Sequence[Row[Any]]:
    """Every ``stride``-th measured evaluation and the reference subnets, by number.

    Each as (number, sequence, origin, choices, metrics, given_up, cost, hypervolume).
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


def gains(session: Session, search_ids: Collection[str]) -> dict[str, list[tuple[int, float]]]:
    """By search, (sequence, hypervolume) of each result that has entered its front, in order."""
    row = EvaluationRow
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    rows = session.execute(
        select(row.search_id, row.sequence, row.hypervolume)
        .join(
            FrontPointRow,
            (FrontPointRow.search_id == row.search_id) & (FrontPointRow.number == row.number),
        )
        .where(FrontPointRow.search_id.in_(search_ids), row.sequence.is_not(None))
    )
    for search_id, sequence, hypervolume in sorted(rows, key=lambda each: (each[0], each[1])):
        found[search_id].append((sequence or 0, hypervolume or 0.0))
    return found


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
    """The digests of all trained weights that searches keep, and that trainings have begun with."""
    row = EvaluationRow
    # By their searches, which are few and found by an index: most evaluations train nothing.
    found = session.execute(
        select(row.weights, row.start_weights)
        .join(SearchRow, SearchRow.id == row.search_id)
        .where(
            SearchRow.train_dataset_id.is_not(None),
            row.weights.is_not(None) | row.start_weights.is_not(None),
        )
    )
    return {digest for each in found for digest in each if digest is not None}


def mark_resent(
    session: Session, search_id: str, numbers: Collection[int], moment: datetime
) -> None:
    """Another attempt at these begins."""
    session.execute(
        update(EvaluationRow)
        .where(
            EvaluationRow.search_id == search_id,
            EvaluationRow.number.in_(numbers),
            EvaluationRow.finished_at.is_(None),
        )
        .values(
            state=EvaluationState.QUEUED,
            attempt=EvaluationRow.attempt + 1,
            sent_at=moment,
            sent_generation=None,
            worker=None,
        )
    )


def mark_running(
    session: Session, search_id: str, numbers: Collection[int], worker: str, moment: datetime
) -> None:
    """A worker has begun these; the ones that are over stay as they are."""
    session.execute(
        update(EvaluationRow)
        .where(
            EvaluationRow.search_id == search_id,
            EvaluationRow.number.in_(numbers),
            EvaluationRow.state == EvaluationState.QUEUED,
            EvaluationRow.report.is_(None),
        )
        .values(state=EvaluationState.RUNNING, worker=worker, started_at=moment)
    )


def keep_report(session: Session, search_id: str, outcome: SubnetOutcome, worker: str) -> None:
    """Keep what a worker says of an evaluation; the first report of each wins."""
    session.execute(
        update(EvaluationRow)
        .where(_unreported(search_id, outcome.number))
        .values(worker=worker, report=outcome.model_dump(mode="json"))
    )


def decline(session: Session, search_id: str, number: int, attempt: int) -> None:
    """Note that a worker took the message of this attempt and did not begin it."""
    session.execute(
        update(EvaluationRow)
        .where(_unreported(search_id, number), EvaluationRow.attempt == attempt)
        .values(state=EvaluationState.QUEUED, worker=None, report={})
    )


def decline_verification(session: Session, search_id: str, number: int, attempt: int) -> None:
    """Note that a message that was to verify this front member did not."""
    session.execute(
        update(EvaluationRow)
        .where(
            EvaluationRow.search_id == search_id,
            EvaluationRow.number == number,
            EvaluationRow.finished_at.is_not(None),
            EvaluationRow.verified.is_(None),
            EvaluationRow.verify_attempt == attempt,
        )
        .values(report={})
    )


def _unreported(search_id: str, number: int) -> ColumnElement[bool]:
    return and_(
        EvaluationRow.search_id == search_id,
        EvaluationRow.number == number,
        EvaluationRow.finished_at.is_(None),
        EvaluationRow.report.is_(None),
    )


def waiting(
    session: Session, search_ids: Collection[str]
) -> Mapping[str, list[tuple[int, str | None, SubnetOutcome | None]]]:
    """By search: number, worker and outcome of what was reported and not yet taken up.

    An outcome of None was declined. Sorted here, not by the database: asked for this order, SQLite
    reads all evaluations of a search in it, of which no more than a window can be unfinished.
    """
    found: dict[str, list[tuple[int, str | None, SubnetOutcome | None]]] = defaultdict(list)
    rows: Sequence[Any] = session.execute(
        select(
            EvaluationRow.search_id,
            EvaluationRow.number,
            EvaluationRow.worker,
            EvaluationRow.report,
        ).where(
            EvaluationRow.search_id.in_(search_ids),
            EvaluationRow.state.in_((EvaluationState.QUEUED, EvaluationState.RUNNING)),
            EvaluationRow.report.is_not(None),
        )
    ).all()
    for search_id, number, worker, report in sorted(rows, key=lambda row: (row[0], row[1])):
        outcome = SubnetOutcome.model_validate(report) if report else None
        found[search_id].append((number, worker, outcome))
    return found


def count_running(session: Session, search_id: str) -> None:
    """Write down how many evaluations of a search are on workers: at most its window."""
    running = (
        select(func.count())
        .select_from(EvaluationRow)
        .where(EvaluationRow.search_id == search_id, EvaluationRow.state == EvaluationState.RUNNING)
        .scalar_subquery()
    )
    session.execute(update(SearchRow).where(SearchRow.id == search_id).values(running=running))


def forget_reports(session: Session, search_id: str, numbers: Collection[int]) -> None:
    """Drop what a worker said of these: it is no result."""
    session.execute(
        update(EvaluationRow)
        .where(EvaluationRow.search_id == search_id, EvaluationRow.number.in_(numbers))
        .values(report=None)
    )


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


def mark_sent(session: Session, search_id: str, numbers: Collection[int], generation: str) -> None:
    """A message carries these now, in a queue that outlives this process.

    The moment is the database's: the search's next coordinator finds out by it what is overdue.
    """
    session.execute(
        update(EvaluationRow)
        .where(EvaluationRow.search_id == search_id, EvaluationRow.number.in_(numbers))
        .values(sent_generation=generation, sent_at=clock_in_sql(session))
    )


def retry_failed(session: Session, search_id: str, moment: datetime) -> int:
    """Put every failed evaluation of a search back into the queue; how many there were."""
    numbers = session.scalars(
        update(EvaluationRow)
        .where(EvaluationRow.search_id == search_id, EvaluationRow.state == EvaluationState.FAILED)
        .values(
            state=EvaluationState.QUEUED,
            attempt=EvaluationRow.attempt + 1,
            sent_at=moment,
            sent_generation=None,
            worker=None,
            report=None,
            error=None,
            sequence=None,
            hypervolume=None,
            duration_seconds=None,
            started_at=None,
            finished_at=None,
        )
        .returning(EvaluationRow.number)
    ).all()
    return len(numbers)


def retry_verification(session: Session, search_id: str) -> int:
    """Have every front member verified whose verification failed; how many there were."""
    members = front(session, search_id)
    numbers = [each.number for each in members if "problem" in (each.verified or {})]
    session.execute(
        update(EvaluationRow)
        .where(EvaluationRow.search_id == search_id, EvaluationRow.number.in_(numbers))
        .values(verified=None, verify_attempt=EvaluationRow.verify_attempt + 1)
    )
    return len(numbers)


def last_error(session: Session, search_id: str) -> dict[str, Any] | None:
    """The problem of the evaluation that failed last."""
    return session.scalars(
        select(EvaluationRow.error)
        .where(EvaluationRow.search_id == search_id, EvaluationRow.state == EvaluationState.FAILED)
        .order_by(EvaluationRow.sequence.desc())
        .limit(1)
    ).one_or_none()


def discard_unfinished(session: Session, search_id: str) -> None:
    """Delete the unfinished evaluations of a search that has ended."""
    session.execute(
        delete(EvaluationRow).where(
            EvaluationRow.search_id == search_id, EvaluationRow.finished_at.is_(None)
        )
    )


def front_numbers(session: Session, search_id: str) -> set[int]:
    """The numbers of the evaluations on the Pareto front now."""
    return set(session.scalars(_front(search_id)))


def front(session: Session, search_id: str) -> Sequence[Row[Any]]:
    """The evaluations on the Pareto front now, by number.

    Each has the columns of an `EvaluationRow`, but for deferred ones, and is none: of a large front
    most of the time would go into instances that the session watches. The numbers are a subquery
    because SQLite, joining, walks through all evaluations of the search in the order asked for.
    """
    columns = [
        getattr(EvaluationRow, each.key)
        for each in inspect(EvaluationRow).column_attrs
        if not each.deferred
    ]
    return session.execute(
        select(*columns)
        .where(EvaluationRow.search_id == search_id, EvaluationRow.number.in_(_front(search_id)))
        .order_by(EvaluationRow.number)
    ).all()


def unverified(session: Session, search_id: str) -> Sequence[Row[Any]]:
    """The evaluations on the Pareto front that were not measured once more yet, by number."""
    return [row for row in front(session, search_id) if row.verified is None]


def add(session: Session, row: EvaluationRow) -> None:
    """Place an evaluation."""
    session.add(row)


def enter_front(session: Session, row: FrontPointRow) -> None:
    """An evaluation is on the front from now on."""
    session.add(row)


def leave_front(
    session: Session, search_id: str, numbers: Collection[int], sequence: int, moment: datetime
) -> None:
    """The evaluation that finished as ``sequence`` drove these out of the front."""
    session.execute(
        update(FrontPointRow)
        .where(
            FrontPointRow.search_id == search_id,
            FrontPointRow.number.in_(numbers),
            FrontPointRow.left_at.is_(None),
        )
        .values(left_sequence=sequence, left_at=moment)
    )


def best_on_front(session: Session, search_ids: Collection[str]) -> set[str]:
    """The searches among these whose best evaluation is on the Pareto front now."""
    return set(
        session.scalars(
            select(SearchRow.id)
            .join(
                FrontPointRow,
                (FrontPointRow.search_id == SearchRow.id)
                & (FrontPointRow.number == SearchRow.best_number),
            )
            .where(SearchRow.id.in_(search_ids), FrontPointRow.left_at.is_(None))
        )
    )


def _front(search_id: str) -> Select[int]:
    return select(FrontPointRow.number).where(
        FrontPointRow.search_id == search_id, FrontPointRow.left_at.is_(None)
    )
