"""``/v1/supernets``."""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool

from elasticnas.api_schemas.annotations import NamedPatch
from elasticnas.api_schemas.costs import CostReport, CostRequest
from elasticnas.api_schemas.fields import MAX_NAME, Identity, Name
from elasticnas.api_schemas.listing import Sort
from elasticnas.api_schemas.paging import Page
from elasticnas.api_schemas.problems import FieldError, InputError, Problem
from elasticnas.api_schemas.spaces import SpaceRead
from elasticnas.api_schemas.supernets import (
    AnySupernet,
    SupernetFromHub,
    SupernetFromPath,
    SupernetPending,
    SupernetRead,
    SupernetState,
)
from elasticnas.service.annotations import annotate
from elasticnas.service.http.filters import NameSought, TagSought, TextSought
from elasticnas.service.http.forms import upload_form
from elasticnas.service.http.paging import Cursor, Limit
from elasticnas.service.http.problems import ProblemError, documented, problem, refuse
from elasticnas.service.http.routing import FORM, JSON, StrictRoute, media_type
from elasticnas.service.principal import Principal, PrincipalDep
from elasticnas.service.runtime import Service, ServiceDep
from elasticnas.service.supernets import repository, sources, views
from elasticnas.service.supernets.registration import lacking, register, until_read
from elasticnas.service.supernets.tables import SupernetRow

router = APIRouter(prefix="/v1/supernets", tags=["super-networks"], route_class=StrictRoute)

NAME: TypeAdapter[str] = TypeAdapter(Name)
RETRY_AFTER_SECONDS = 1
ARCHIVE = {
    "type": "string",
    "format": "binary",
    "description": "a .tar, .tar.gz or .zip of the checkpoint's folder",
}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["archive"],
                    "properties": {
                        "archive": ARCHIVE,
                        "name": {"type": "string", "maxLength": MAX_NAME},
                    },
                }
            },
            "application/json": {
                "schema": {
                    "oneOf": [
                        SupernetFromPath.model_json_schema(),
                        SupernetFromHub.model_json_schema(),
                    ]
                }
            },
        },
    }
}


Wait = Annotated[
    float,
    Query(
        ge=0,
        allow_inf_nan=False,
        description="seconds to wait for a worker to have read it; `Prefer: wait=60` is the same",
    ),
]
Prefer = Annotated[str | None, Header(description="of RFC 7240, `wait` is heard")]


@router.post(
    "",
    status_code=202,
    summary="Register a super-network",
    openapi_extra=BODY,
    response_model=SupernetPending,
    responses={
        **documented(
            "source-not-allowed",
            "too-large",
            "unsupported-media-type",
            "invalid-checkpoint",
            "storage-full",
        ),
        201: {"model": SupernetRead, "description": "The client waited, and a worker has read it"},
        202: {"description": "Stored; ask at Location until `state` is no longer `reading`"},
    },
)
async def create_supernet(
    request: Request,
    service: ServiceDep,
    principal: PrincipalDep,
    wait: Wait = 0.0,
    prefer: Prefer = None,
) -> Response:
    """Store a checkpoint and have a worker read it.

    Answers once it is stored. The super-network at Location is `reading`, then `ready` or `failed`
    with a problem that names the file, tensor or key at fault. A client that waits is answered once
    a worker has read it: 201, or that problem; 202 if it takes longer.
    """
    patience = patience_of(wait, prefer)
    if (found := media_type(request)) == FORM:
        async with upload_form(request, "archive", "name") as form:
            asked = _name(form.texts.get("name", "")) or form.filename
            upload = partial(sources.from_upload, form.file, settings=service.settings)
            row = await register(service, principal, upload, asked, patience)
    elif found == JSON:
        body, source = sources.of_json(
            await request.body(), SupernetFromPath, SupernetFromHub, service.settings
        )
        called = body.hub_id if isinstance(body, SupernetFromHub) else None
        row = await register(service, principal, source, body.name or called, patience)
    else:
        raise refuse(
            "unsupported-media-type",
            f"a super-network comes as {FORM} or {JSON}, found {found!r}",
        )
    return await run_in_threadpool(_answer, service, row, waited=patience > 0)


def patience_of(wait: float, prefer: str | None) -> float:
    """The seconds that a client waits; what a Prefer header says else is not for us."""
    asked = re.search(r"(?:^|[,;\s])wait=(\d{1,9})(?:$|[,;\s])", prefer or "")
    return max(wait, float(asked[1]) if asked else 0.0)


def _name(text: str) -> str:
    try:
        return NAME.validate_python(text)
    except ValidationError as error:
        raise InputError(
            f"a name is text of at most {MAX_NAME} characters, without NUL",
            field="name",
            value=text[:MAX_NAME],
        ) from error


def _answer(service: Service, row: SupernetRow, *, waited: bool) -> Response:
    """What became of a registration so far; a problem only to a client that waited for it."""
    headers = {"Location": f"/v1/supernets/{row.id}"}
    if waited and row.state == SupernetState.FAILED:
        document = Problem.model_validate({**(row.problem or {}), "supernet_id": row.id})
        raise ProblemError(document, headers)
    if waited and row.state == SupernetState.READY:
        return JSONResponse(views.ready_view(row).model_dump(mode="json"), 201, headers)
    pending = views.pending_view(
        row, lacking(service) if row.state == SupernetState.READING else None
    )
    headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return JSONResponse(pending.model_dump(mode="json"), 202, headers)


@router.get("", summary="List super-networks", responses=documented("invalid-input"))
def list_supernets(
    service: ServiceDep,
    principal: PrincipalDep,
    q: TextSought = None,
    tag: TagSought = None,
    state: Annotated[list[SupernetState] | None, Query()] = None,
    method: NameSought = None,
    sort: Sort = Sort.NEWEST,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AnySupernet]:
    """The newest first, unless sorted otherwise; those that are not ready too."""
    wanted = repository.Wanted(q, tag, state, method)
    with service.database.read() as session:
        rows, following = repository.page(
            session, principal, wanted, sort=sort, limit=limit, cursor=cursor
        )
    return Page(items=[views.supernet_view(row) for row in rows], next_cursor=following)


@router.get("/{supernet_id}", summary="Read a super-network", responses=documented("not-found"))
async def read_supernet(
    supernet_id: Identity,
    response: Response,
    service: ServiceDep,
    principal: PrincipalDep,
    wait: Wait = 0.0,
    prefer: Prefer = None,
) -> AnySupernet:
    """Its method, the summary of its space, and what its largest and smallest subnets cost.

    While a worker reads the checkpoint its `state` is `reading`; `failed` comes with the problem. A
    client that waits is answered as soon as that is over, or its time.
    """
    find = partial(_found, service, principal, supernet_id)
    row = await run_in_threadpool(find)
    if (patience := patience_of(wait, prefer)) and row.state == SupernetState.READING:
        await until_read(service, supernet_id, patience)
        row = await run_in_threadpool(find)
    if row.state != SupernetState.READING:
        return views.supernet_view(row)
    response.headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return views.supernet_view(row, await run_in_threadpool(lacking, service))


def _found(service: Service, principal: Principal, supernet_id: str) -> SupernetRow:
    with service.database.read() as session:
        return repository.found(session, principal, supernet_id)


@router.get(
    "/{supernet_id}/space",
    summary="The search space",
    responses=documented("not-found", "supernet-not-ready"),
)
def read_space(supernet_id: Identity, service: ServiceDep, principal: PrincipalDep) -> SpaceRead:
    """Every dimension with its choices."""
    with service.database.read() as session:
        views.require_ready(repository.found(session, principal, supernet_id))
        return service.reports.get(session, supernet_id).space.read()


@router.post(
    "/{supernet_id}/cost",
    summary="What a subnet costs",
    responses=documented("not-found", "supernet-not-ready", "invalid-input"),
)
def price_subnet(
    supernet_id: Identity, body: CostRequest, service: ServiceDep, principal: PrincipalDep
) -> CostReport:
    """Exact and analytic: nothing is evaluated. ``max_length`` defaults to the reference length."""
    with service.database.read() as session:
        views.require_ready(repository.found(session, principal, supernet_id))
        supernet = service.reports.get(session, supernet_id)
    length = body.max_length or supernet.report.reference_length
    require_length(length, supernet.report.max_positions)
    return supernet.cost(supernet.space.subnet(body.subnet), length)


@router.patch(
    "/{supernet_id}",
    summary="Rename a super-network, write notes and tags on it",
    responses=documented("not-found", "invalid-request"),
)
def patch_supernet(
    supernet_id: Identity, body: NamedPatch, service: ServiceDep, principal: PrincipalDep
) -> AnySupernet:
    """What is left out stays as it is. In any `state`."""
    with service.database.write() as session:
        row = repository.found(session, principal, supernet_id, lock=True)
        annotate(row, body)
    return views.supernet_view(row)


@router.delete(
    "/{supernet_id}",
    status_code=204,
    summary="Delete a super-network",
    responses=documented("not-found", "in-use"),
)
def delete_supernet(supernet_id: Identity, service: ServiceDep, principal: PrincipalDep) -> None:
    """Refused while any search refers to it. One that is being read goes, too."""
    with service.database.write() as session:
        row = repository.found(session, principal, supernet_id)
        if (search_id := repository.search_using(session, supernet_id)) is not None:
            raise refuse("in-use", f"search {search_id} refers to this super-network")
        repository.remove(session, row)


def require_length(max_length: int, max_positions: int) -> None:
    """Raise the problem when sequences of this length do not fit the position embeddings."""
    if max_length > max_positions:
        detail = f"the super-network carries at most {max_positions} positions"
        raise ProblemError(
            problem(
                "invalid-input",
                f"max_length: {detail} (found {max_length})",
                errors=[FieldError(pointer="/max_length", detail=detail, value=str(max_length))],
            )
        )
