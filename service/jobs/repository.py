"""All SQL about jobs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlalchemy.orm import Session

from elasticnas.api_schemas.jobs import JobKind, JobState
from elasticnas.api_schemas.listing import AgeSort
from elasticnas.api_schemas.messages import RunStep
from elasticnas.service import list_repository as listing
from elasticnas.service import repository
from elasticnas.service.jobs import registrations
from elasticnas.service.jobs.tables import JobEventRow, JobRow, StepRow
from elasticnas.service.principal import Principal
from elasticnas.service.supernets.tables import SupernetRow

_WITH_STEP = select(JobRow, StepRow).join(
    StepRow, and_(StepRow.job_id == JobRow.id, StepRow.position == JobRow.position)
)
_IS_A_JOB = ~exists().where(JobRow.supernet_id == SupernetRow.id)
"""Of super-networks: the reading of one that a training made is the end of the training."""


@dataclass(frozen=True)
class Wanted:
    """Which jobs a list is of: those for which everything holds that is not None."""

    text: str | None = None
    states: Sequence[JobState] | None = None
    kind: JobKind | None = None
    dataset_id: str | None = None

    def jobs(self) -> list[ColumnElement[bool]] | None:
        """What must hold of a job; None: it is not of jobs."""
        if self.kind == JobKind.REGISTRATION:
            return None
        return [
            *listing.holds_text(self.text, JobRow.name, JobRow.id, JobRow.recipe),
            *listing.is_one_of(JobRow.state, self.states),
            *listing.is_one_of(JobRow.kind, self.kind and [self.kind]),
            *listing.is_one_of(JobRow.dataset_id, self.dataset_id and [self.dataset_id]),
        ]

    def registrations(self) -> list[ColumnElement[bool]] | None:
        """What must hold of a super-network whose registration it is; None: it is not of those."""
        states = registrations.states(self.states)
        if self.kind not in (None, JobKind.REGISTRATION) or self.dataset_id or not states:
            return None
        return [
            *listing.holds_text(self.text, SupernetRow.name, SupernetRow.id),
            SupernetRow.state.in_(states),
            _IS_A_JOB,
        ]


def page(
    session: Session,
    principal: Principal,
    wanted: Wanted,
    *,
    sort: AgeSort,
    limit: int,
    cursor: str | None,
) -> tuple[list[JobRow | SupernetRow], str | None]:
    """Jobs and registrations, by age."""
    found: list[tuple[Any, Any]] = []
    for table, conditions in ((SupernetRow, wanted.registrations()), (JobRow, wanted.jobs())):
        if conditions is not None:
            order = listing.order_of(table, sort, {})
            found += listing.placed(
                session, principal, table, conditions, order, limit=limit, cursor=cursor
            )
    found.sort(key=lambda each: (each[1], each[0].id), reverse=sort is AgeSort.NEWEST)
    return listing.page_of(found, listing.order_of(JobRow, sort, {}), limit)


def found(session: Session, principal: Principal, job_id: str, *, lock: bool = False) -> JobRow:
    """One of the principal's jobs, or the problem of `repository.found`."""
    return repository.found(session, principal, JobRow, job_id, lock=lock)


def registration(session: Session, principal: Principal, supernet_id: str) -> SupernetRow | None:
    """The principal's super-network of this id whose registration is a job, if there is one."""
    found = registrations_of(session, [supernet_id], principal)
    return found[0] if found else None


def registrations_of(
    session: Session, supernet_ids: Collection[str], principal: Principal | None
) -> Sequence[SupernetRow]:
    """Those of these super-networks whose registration is a job; None reads those of all owners."""
    query = select(SupernetRow).where(SupernetRow.id.in_(supernet_ids), _IS_A_JOB)
    if principal is not None:
        query = query.where(principal.may_read(SupernetRow))
    return session.scalars(query.execution_options(populate_existing=True)).all()


def locked(session: Session, job_id: str) -> JobRow | None:
    """The job, held by this transaction until it ends: changes to one job take turns."""
    return session.scalars(
        select(JobRow).where(JobRow.id == job_id).with_for_update()
    ).one_or_none()


def add(session: Session, job: JobRow, steps: Sequence[StepRow]) -> None:
    """Keep a new job with its steps."""
    session.add(job)
    session.flush()
    session.add_all(steps)


def remove(session: Session, job: JobRow) -> None:
    """Delete a job with its steps and events."""
    session.delete(job)


def steps(session: Session, job_ids: Collection[str]) -> dict[str, list[StepRow]]:
    """The steps of each of these jobs, in order."""
    found: dict[str, list[StepRow]] = {job_id: [] for job_id in job_ids}
    rows = session.scalars(
        select(StepRow).where(StepRow.job_id.in_(job_ids)).order_by(StepRow.position)
    )
    for row in rows:
        found[row.job_id].append(row)
    return found


def step(session: Session, job: JobRow, *, before: int = 0) -> StepRow:
    """The step that a job is at, or one so many ``before`` it."""
    return session.get_one(StepRow, (job.id, job.position - before))


def unfinished(session: Session) -> Sequence[tuple[JobRow, StepRow]]:
    """Every job that goes on by itself with the step that it is at, the oldest first."""
    query = _WITH_STEP.where(JobRow.state.in_(JobState.unfinished())).order_by(
        JobRow.created_at, JobRow.id
    )
    return [(job, step) for job, step in session.execute(query)]


def with_steps(
    session: Session, job_ids: Collection[str], principal: Principal | None
) -> Sequence[tuple[JobRow, StepRow]]:
    """These jobs, each with the step that it is at; None reads the jobs of all owners."""
    query = _WITH_STEP.where(JobRow.id.in_(job_ids))
    if principal is not None:
        query = query.where(principal.may_read(JobRow))
    return [(job, step) for job, step in session.execute(query)]


def underway(session: Session, principal: Principal, *, limit: int) -> list[str]:
    """The ids of the principal's jobs and registrations that have not ended, the newest first."""
    mine = repository.readable(principal, JobRow).where(JobRow.state.in_(JobState.unfinished()))
    read = repository.readable(principal, SupernetRow).where(
        SupernetRow.state.in_(registrations.states([JobState.RUNNING])), _IS_A_JOB
    )
    found = [
        each
        for query, row in ((mine, JobRow), (read, SupernetRow))
        for each in session.execute(
            query.with_only_columns(row.created_at, row.id)
            .order_by(row.created_at.desc(), row.id.desc())
            .limit(limit)
        )
    ]
    return [job_id for _, job_id in sorted(found, reverse=True)[:limit]]


def mark_sent(session: Session, message: RunStep, generation: str) -> None:
    """A message carries this attempt now, in this generation of the queue."""
    session.execute(
        update(StepRow)
        .where(
            StepRow.job_id == message.job_id,
            StepRow.position == message.position,
            StepRow.attempt == message.attempt,
        )
        .values(sent_generation=generation)
    )


def manifests(session: Session) -> set[str]:
    """The manifest digests of what jobs begin with, have saved and have left.

    What a step has left can be downloaded until its job is deleted; of a completed job nothing
    else is needed any more.
    """
    left = session.scalars(select(StepRow.output).where(StepRow.output.is_not(None)))
    needed = session.execute(
        select(JobRow.base_digest, StepRow.saved)
        .join(StepRow, StepRow.job_id == JobRow.id)
        .where(JobRow.state != JobState.COMPLETED)
    )
    used = {digest for row in needed for digest in row if digest is not None}
    return used | {digest for digest in left if digest is not None}


def add_event(session: Session, event: JobEventRow) -> None:
    """Keep an event."""
    session.add(event)


def events_after(
    session: Session, numbers: Mapping[str, int], *, limit: int
) -> Sequence[JobEventRow]:
    """At most ``limit`` events of several jobs, of each those beyond the number given."""
    if not numbers:
        return []
    beyond = (
        and_(JobEventRow.job_id == job_id, JobEventRow.number > number)
        for job_id, number in numbers.items()
    )
    return session.scalars(
        select(JobEventRow)
        .where(or_(*beyond))
        .order_by(JobEventRow.job_id, JobEventRow.number)
        .limit(limit)
    ).all()
