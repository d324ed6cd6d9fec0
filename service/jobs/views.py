"""What REST shows of jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session

from elasticnas.api_schemas.finetuning import BEFORE, ChosenSubnet, FinetunedRead, MetricChange
from elasticnas.api_schemas.jobs import (
    JobKind,
    JobRead,
    JobState,
    StepProgress,
    StepRead,
)
from elasticnas.api_schemas.messages import InspectSupernet, RunStep
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.supernets import SupernetState
from elasticnas.service.jobs import registrations, repository
from elasticnas.service.jobs.tables import JobRow, StepRow
from elasticnas.service.presence import Presence
from elasticnas.service.supernets.tables import SupernetRow


def read_jobs(
    session: Session, rows: Sequence[JobRow | SupernetRow], look: Callable[[Session], Presence]
) -> list[JobRead]:
    """Jobs with their steps, and registrations; ``look`` finds which processes are there."""
    steps = repository.steps(session, [row.id for row in rows if isinstance(row, JobRow)])
    unfinished = (*JobState.unfinished(), SupernetState.READING)
    presence = look(session) if any(row.state in unfinished for row in rows) else None

    def lacking(queue: str) -> str | None:
        return None if presence is None else presence.lacking(queue=queue)

    return [
        _read(row, steps[row.id], lacking(RunStep.queue))
        if isinstance(row, JobRow)
        else registrations.job_read(row, lacking(InspectSupernet.queue))
        for row in rows
    ]


def progress(step: StepRow) -> StepProgress:
    """How far a step is."""
    return StepProgress(done=step.done, total=step.total, scalars=step.scalars or {})


def _read(row: JobRow, steps: Sequence[StepRow], lacking: str | None) -> JobRead:
    waits = row.state in JobState.unfinished() and steps[row.position].state == JobState.QUEUED
    return JobRead(
        id=row.id,
        kind=JobKind(row.kind),
        name=row.name,
        recipe=row.recipe,
        settings=row.settings,
        dataset_id=row.dataset_id,
        state=JobState(row.state),
        steps=[_read_step(step) for step in steps],
        waiting_for=lacking if waits else None,
        supernet_id=row.supernet_id,
        finetuned=_finetuned(row, steps[-1]),
        problem=None if row.problem is None else Problem.model_validate(row.problem),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def _finetuned(row: JobRow, last: StepRow) -> FinetunedRead | None:
    """Which subnet the job trains on, with what its last step has measured."""
    if row.chosen is None:
        return None
    card = ChosenSubnet.model_validate(row.chosen).card
    told = last.scalars or {}
    metrics = {
        name: MetricChange(before=told[name + BEFORE], after=value)
        for name, value in told.items()
        if name + BEFORE in told
    }
    is_over = last.state == JobState.COMPLETED
    return FinetunedRead(
        search_id=card.search_id, number=card.number, metrics=metrics if is_over else None
    )


def _read_step(row: StepRow) -> StepRead:
    return StepRead(
        name=row.name,
        state=JobState(row.state),
        progress=progress(row),
        worker=row.worker,
        attempt=row.attempt,
        saved_at=row.saved_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
