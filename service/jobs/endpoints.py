"""``/v1/jobs``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import FileResponse

from elasticnas.api_schemas.fields import Identity, LongText, Name
from elasticnas.api_schemas.jobs import JobEventKind, JobKind, JobRead, JobState, StepProduct
from elasticnas.api_schemas.listing import AgeSort
from elasticnas.api_schemas.paging import Page
from elasticnas.service.exports.download import LeasedFile
from elasticnas.service.http.etags import matches
from elasticnas.service.http.filters import IdSought, TextSought
from elasticnas.service.http.paging import Cursor, Limit
from elasticnas.service.http.problems import documented
from elasticnas.service.jobs import products, repository, transitions, views
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


@router.get("", summary="List jobs", responses=documented("invalid-input"))
def list_jobs(
    service: ServiceDep,
    principal: PrincipalDep,
    q: TextSought = None,
    state: Annotated[list[JobState] | None, Query()] = None,
    kind: JobKind | None = None,
    dataset_id: IdSought = None,
    sort: AgeSort = AgeSort.NEWEST,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[JobRead]:
    """The newest first, unless sorted otherwise; those in several states if `state` is repeated."""
    wanted = repository.Wanted(q, state, kind, dataset_id)
    with service.database.read() as session:
        rows, following = repository.page(
            session, principal, wanted, sort=sort, limit=limit, cursor=cursor
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


@router.get(
    "/{job_id}/steps/{step}/product",
    summary="List what a step has left",
    responses=documented("not-found", "step-not-completed", "storage-unavailable"),
)
def read_product(
    job_id: Identity, step: Name, service: ServiceDep, principal: PrincipalDep
) -> StepProduct:
    """The files of a completed step, which stay until the job is deleted."""
    return products.read_product(service, principal, job_id, step)


@router.get(
    "/{job_id}/steps/{step}/product/{path:path}",
    summary="Download a file that a step has left",
    response_class=FileResponse,
    responses={
        **documented("not-found", "step-not-completed", "storage-unavailable"),
        200: {
            "description": "The file; honours Range and If-None-Match",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        },
        304: {"description": "Unchanged since the given ETag"},
    },
)
def read_product_file(
    job_id: Identity,
    step: Name,
    path: LongText,
    service: ServiceDep,
    principal: PrincipalDep,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Its ETag is the SHA-256 of its content."""
    digest = products.digest_of(service, principal, job_id, step, path)
    etag = f'"{digest}"'
    if matches(if_none_match, etag):
        return Response(status_code=304, headers={"ETag": etag})
    return LeasedFile(
        service.blobs.lease(digest),
        media_type="application/octet-stream",
        filename=path.rpartition("/")[2],
        headers={"ETag": etag},
    )


def read(service: Service, row: JobRow | SupernetRow) -> JobRead:
    """A job as REST shows it."""
    with service.database.read() as session:
        return views.read_jobs(session, [row], service.present)[0]
