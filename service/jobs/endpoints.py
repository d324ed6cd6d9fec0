"""``/v1/jobs``."""

from __future__ import annotations

from fastapi import APIRouter, Response

from elasticnas.api_schemas.fields import Identity
from elasticnas.api_schemas.jobs import JobEventKind, JobKind, JobRead, JobState
from elasticnas.api_schemas.paging import Page
from elasticnas.service.http.paging import Cursor, Limit
from elasticnas.service.http.problems import documented
from elasticnas.service.jobs import repository, transitions, views
from elasticnas.service.jobs.tables import JobRow
from elasticnas.service.principal import PrincipalDep
from elasticnas.service.runtime import Service, ServiceDep
from elasticnas.service.streaming.answer import (
    EventStream,
    LastEventIdHeader,
    LastEventIdQuery,
    described,
    event_stream,
)
from elasticnas.service.supernets.tables import SupernetRow

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.get("", summary="List jobs")
def list_jobs(
    service: ServiceDep,
    principal: PrincipalDep,
    limit: Limit = 50,
    cursor: Cursor = None,
    state: JobState | None = None,
    kind: JobKind | None = None,
) -> Page[JobRead]:
    """The newest first."""
    with service.database.read() as session:
        rows, following = repository.page(
            session, principal, state=state, kind=kind, limit=limit, cursor=cursor
        )
        items = views.read_jobs(session, rows, service.present)
    return Page(items=items, next_cursor=following)


@router.get("/{job_id}", summary="Read a job", responses=documented("not-found"))
def read_job(job_id: Identity, service: ServiceDep, principal: PrincipalDep) -> JobRead:
    """Its state, its steps, and the super-network that it made or the problem it ended with."""
    with service.database.read() as session:
        registration = repository.registration(session, principal, job_id)
        row = registration or repository.found(session, principal, job_id)
        return views.read_jobs(session, [row], service.present)[0]


@router.post(
    "/{job_id}/cancel",
    summary="Cancel a job",
    responses=documented("not-found", "illegal-transition"),
)
def cancel_job(job_id: Identity, service: ServiceDep, principal: PrincipalDep) -> JobRead:
    """Its step ends at once. What it saved stays for a retry. Cancelling twice is no error.

    A registration ends when its super-network is deleted.
    """
    return read(service, transitions.cancel(service, principal, job_id))


@router.post(
    "/{job_id}/retry",
    summary="Retry a job",
    responses=documented("not-found", "illegal-transition"),
)
def retry_job(job_id: Identity, service: ServiceDep, principal: PrincipalDep) -> JobRead:
    """A job that failed or was cancelled goes on from its last save point.

    A registration that failed reads the uploaded checkpoint once more.
    """
    return read(service, transitions.retry(service, principal, job_id))


@router.delete(
    "/{job_id}",
    status_code=204,
    summary="Delete a job",
    responses=documented("not-found", "illegal-transition"),
)
def delete_job(job_id: Identity, service: ServiceDep, principal: PrincipalDep) -> None:
    """With its events and save points; its super-network stays. Only once it has ended."""
    transitions.delete(service, principal, job_id)


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    response_class=EventStream,
    responses=described(JobEventKind, "job"),
)
def job_events(
    job_id: Identity,
    service: ServiceDep,
    principal: PrincipalDep,
    last_event_id: LastEventIdHeader = None,
    last_event_id_in_query: LastEventIdQuery = None,
) -> Response:
    """Server-sent events: `progress` (no id, at most two a second), `state` and `scalars` (kept).

    Begins with the progress. With the id of an event, those after it are replayed; without one,
    the stream carries on from now. Ends with the job's final `state`; who then reconnects with
    that event's id is answered 204.
    """
    seen = last_event_id, last_event_id_in_query
    return event_stream(service.job_watcher, job_id, principal, *seen)


def read(service: Service, row: JobRow | SupernetRow) -> JobRead:
    """A job as REST shows it."""
    with service.database.read() as session:
        return views.read_jobs(session, [row], service.present)[0]
