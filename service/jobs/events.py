"""What happens to a job, written down in the transaction in which it happens."""

from __future__ import annotations

from pydantic import BaseModel
from sqlalchemy.orm import Session

from elasticnas.api_schemas.jobs import (
    JobEventKind,
    JobScalarsEvent,
    JobState,
    JobStateEvent,
    StepProgress,
)
from elasticnas.api_schemas.overview import OverviewState, ThingKind
from elasticnas.api_schemas.problems import Problem
from elasticnas.service.database import now
from elasticnas.service.jobs import repository
from elasticnas.service.jobs.tables import JobEventRow, JobRow, StepRow
from elasticnas.service.overview import events as overview


def state_changed(session: Session, job: JobRow, step: StepRow) -> None:
    """The job and the step that it is at are now in the states that their rows say."""
    event = JobStateEvent(
        state=JobState(job.state),
        step=step.name,
        step_state=JobState(step.state),
        attempt=step.attempt,
        supernet_id=job.supernet_id,
        problem=None if job.problem is None else Problem.model_validate(job.problem),
    )
    _add(session, job, JobEventKind.STATE, event)
    tell_owner(session, job)


def tell_owner(session: Session, job: JobRow, state: str | None = None) -> None:
    """The owner's stream says which state the job is in, if not the row's."""
    overview.tell(
        session,
        job.owner,
        OverviewState(
            kind=ThingKind.JOB,
            id=job.id,
            name=job.name,
            state=state or job.state,
            supernet_id=job.supernet_id,
            problem=None if job.problem is None else Problem.model_validate(job.problem),
        ),
    )


def watched(session: Session, job: JobRow, step: StepRow, scalars: StepProgress) -> None:
    """The step has said what it watches. What a repeated part of it says once more is dropped."""
    if scalars.done > step.scalars_done:
        step.scalars_done = scalars.done
        event = JobScalarsEvent(step=step.name, done=scalars.done, scalars=scalars.scalars)
        _add(session, job, JobEventKind.SCALARS, event)


def _add(session: Session, job: JobRow, kind: JobEventKind, event: BaseModel) -> None:
    job.last_event += 1
    repository.add_event(
        session,
        JobEventRow(
            job_id=job.id,
            number=job.last_event,
            kind=kind,
            data=event.model_dump(mode="json"),
            at=now(),
        ),
    )
