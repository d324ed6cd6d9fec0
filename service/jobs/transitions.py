"""What requests do to a job's state, or 409."""

from __future__ import annotations

from sqlalchemy.orm import Session

from elasticnas.api_schemas.jobs import JobState
from elasticnas.api_schemas.messages import step_key
from elasticnas.service.http.problems import refuse
from elasticnas.service.jobs import events, recording, repository
from elasticnas.service.jobs.tables import JobRow
from elasticnas.service.overview.events import DELETED
from elasticnas.service.principal import Principal
from elasticnas.service.runtime import Service
from elasticnas.service.supernets import registration
from elasticnas.service.supernets.tables import SupernetRow


def cancel(service: Service, principal: Principal, job_id: str) -> JobRow:
    """End a job now; what it saved stays. Cancelling twice is no error."""
    with service.database.write() as session:
        _refuse_registration(session, principal, job_id)
        job = repository.found(session, principal, job_id, lock=True)
        if job.state in (JobState.COMPLETED, JobState.FAILED):
            raise refuse("illegal-transition", f"job {job_id} is {job.state}")
        step = repository.step(session, job)
        if job.state != JobState.CANCELLED:
            if not JobState(step.state).is_final:
                step.state = JobState.CANCELLED
            recording.end(session, job, step, JobState.CANCELLED)
    service.queue.halt(step_key(job_id, step.position, step.attempt), "ended")
    return job


def retry(service: Service, principal: Principal, job_id: str) -> JobRow | SupernetRow:
    """Let a job that failed or was cancelled go on from its last save point."""
    with service.database.read() as session:
        is_registration = repository.registration(session, principal, job_id) is not None
    if is_registration:
        return registration.read_again(service, principal, job_id)
    with service.database.write() as session:
        job = repository.found(session, principal, job_id, lock=True)
        if job.state not in (JobState.FAILED, JobState.CANCELLED):
            raise refuse("illegal-transition", f"job {job_id} is {job.state}")
        step = repository.step(session, job)
        if step.state == JobState.COMPLETED:  # its result could not be read, or was deleted
            step.scalars_done, step.done = 0, 0
        job.supernet_id = job.problem = job.finished_at = step.finished_at = None
        job.state = step.state = JobState.QUEUED
        step.deaths, step.sent_at, step.sent_generation = 0, None, None
        events.state_changed(session, job, step)
    return job


def delete(service: Service, principal: Principal, job_id: str) -> None:
    """Forget a job and all that it saved; its super-network stays."""
    with service.database.write() as session:
        _refuse_registration(session, principal, job_id)
        job = repository.found(session, principal, job_id, lock=True)
        if not JobState(job.state).is_final:
            raise refuse("illegal-transition", f"job {job_id} is {job.state}; cancel it first")
        events.tell_owner(session, job, DELETED)
        repository.remove(session, job)


def _refuse_registration(session: Session, principal: Principal, job_id: str) -> None:
    if repository.registration(session, principal, job_id) is not None:
        raise refuse(
            "illegal-transition",
            f"{job_id} is the registration of a super-network and goes with it: delete "
            f"/v1/supernets/{job_id}",
        )
