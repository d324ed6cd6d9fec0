"""What a worker's report changes of a job."""

from __future__ import annotations

from sqlalchemy.orm import Session

from elasticnas.api_schemas.jobs import JobKind, JobState
from elasticnas.api_schemas.messages import StepReported
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.supernets import SupernetState
from elasticnas.service.database import clock, now
from elasticnas.service.http.problems import problem
from elasticnas.service.identity import new_id
from elasticnas.service.jobs import events, repository
from elasticnas.service.jobs.tables import JobRow, StepRow
from elasticnas.service.supernets import repository as supernets
from elasticnas.service.supernets.tables import SupernetRow

MOST_DEATHS = 3
"""A step is given up when so many attempts in a row died before they reached a save point."""


def record(session: Session, report: StepReported) -> bool:
    """Keep a report; False when nobody wants what the attempt does any more.

    The first report of an attempt's end counts; taking a report twice changes nothing.
    """
    job = repository.locked(session, report.job_id)
    if job is None or JobState(job.state).is_final or job.position != report.position:
        return False
    step = repository.step(session, job)
    if step.attempt != report.attempt or JobState(step.state).is_final:
        return False
    _keep_progress(session, job, step, report)
    match report.state:
        case "running":
            _begin(session, job, step)
        case "completed":
            _complete(session, job, step, report)
        case "failed":
            fail(session, job, step, report.problem or _unexplained())
        case "died":
            note_death(session, job, step, report.problem or _unexplained())
        case "given_back":
            _queue_again(session, job, step)
    return True


def note_death(session: Session, job: JobRow, step: StepRow, why: Problem) -> None:
    """An attempt died: another is made, unless too many have."""
    step.deaths += 1
    if step.deaths >= MOST_DEATHS:
        fail(session, job, step, why)
    else:
        _queue_again(session, job, step)


def fail(session: Session, job: JobRow, step: StepRow, why: Problem) -> None:
    """The job ends with a problem; what was saved stays, so that it can be retried."""
    step.state = JobState.FAILED
    end(session, job, step, JobState.FAILED, why)


def end(
    session: Session, job: JobRow, step: StepRow, state: JobState, why: Problem | None = None
) -> None:
    """The job comes into a final state."""
    job.state, job.finished_at = state, now()
    job.problem = None if why is None else why.model_dump(mode="json")
    events.state_changed(session, job, step)


def _keep_progress(session: Session, job: JobRow, step: StepRow, report: StepReported) -> None:
    step.worker, step.heard_at = report.worker, clock(session)
    if report.progress is not None:
        step.done, step.total = report.progress.done, report.progress.total
        step.scalars = dict(report.progress.scalars)
    if report.scalars is not None:
        events.watched(session, job, step, report.scalars)
    if report.saved is not None:
        step.saved, step.saved_at, step.deaths = report.saved, now(), 0


def _begin(session: Session, job: JobRow, step: StepRow) -> None:
    if step.state == JobState.QUEUED:
        job.state = step.state = JobState.RUNNING
        job.started_at = job.started_at or now()
        step.started_at = step.started_at or now()
        events.state_changed(session, job, step)


def _queue_again(session: Session, job: JobRow, step: StepRow) -> None:
    step.state, step.sent_at, step.sent_generation = JobState.QUEUED, None, None
    events.state_changed(session, job, step)


def _complete(session: Session, job: JobRow, step: StepRow, report: StepReported) -> None:
    """Go on with the next step; what a training's last one left is registered."""
    _begin(session, job, step)
    step.state, step.finished_at = JobState.COMPLETED, now()
    step.output, step.saved = report.output, None
    if job.position + 1 < len(repository.steps(session, [job.id])[job.id]):
        job.position += 1
        step = repository.step(session, job)
    elif job.kind == JobKind.FINETUNING:
        end(session, job, step, JobState.COMPLETED)
        return
    else:
        job.supernet_id = _register(session, job, report)
    events.state_changed(session, job, step)


def _register(session: Session, job: JobRow, report: StepReported) -> str:
    assert report.output is not None
    assert report.size_bytes is not None
    row = SupernetRow(
        id=new_id("supernet"),
        owner=job.owner,
        name=job.name,
        state=SupernetState.READING,
        digest=report.output,
        size_bytes=report.size_bytes,
        created_at=now(),
    )
    supernets.add(session, row)
    return row.id


def _unexplained() -> Problem:
    return problem("step-failed", "the worker gave no reason")
