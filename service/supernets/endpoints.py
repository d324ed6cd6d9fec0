"""``/v1/supernets``."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import UploadFile

from elasticnas.api_schemas.costs import CostReport, CostRequest
from elasticnas.api_schemas.fields import MAX_NAME, Identity, Name, storable
from elasticnas.api_schemas.paging import Page
from elasticnas.api_schemas.problems import FieldError, InputError
from elasticnas.api_schemas.spaces import SpaceRead
from elasticnas.api_schemas.supernets import (
    AnySupernet,
    SupernetFromHub,
    SupernetFromPath,
    SupernetPending,
    SupernetRead,
)
from elasticnas.service.http.errors import validation_problem
from elasticnas.service.http.json_body import parse_json
from elasticnas.service.http.paging import Cursor, Limit
from elasticnas.service.http.problems import ProblemError, documented, problem, refuse
from elasticnas.service.http.routing import FORM, JSON, StrictRoute, media_type
from elasticnas.service.principal import Principal, PrincipalDep
from elasticnas.service.runtime import Service, ServiceDep
from elasticnas.service.supernets import reading, repository, sources
from elasticnas.service.supernets.reading import ready
from elasticnas.service.supernets.registration import pursue, register
from elasticnas.service.supernets.tables import SupernetState

router = APIRouter(prefix="/v1/supernets", tags=["super-networks"], route_class=StrictRoute)

NAME: TypeAdapter[str] = TypeAdapter(Name)
RETRY_AFTER_SECONDS = 1
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["archive"],
                    "properties": {
                        "archive": {
                            "type": "string",
                            "format": "binary",
                            "description": "a .tar, .tar.gz or .zip of the checkpoint's folder",
                        },
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


@router.post(
    "",
    status_code=201,
    summary="Register a super-network",
    openapi_extra=BODY,
    response_model=SupernetRead,
    responses={
        **documented(
            "source-not-allowed",
            "too-large",
            "unsupported-media-type",
            "invalid-checkpoint",
            "storage-full",
        ),
        202: {
            "model": SupernetPending,
            "description": "A worker is still reading it; ask at Location after Retry-After",
        },
    },
)
async def create_supernet(
    request: Request, service: ServiceDep, principal: PrincipalDep
) -> Response | SupernetRead:
    """Store a checkpoint and have a worker read it.

    Answers once a worker has: with what the checkpoint holds, or with a problem that names the
    file, tensor or key at fault; nothing is registered then. If it takes long the answer is 202,
    and the super-network at Location is `reading`, then `ready` or `failed` with the problem.
    """
    found = await _registered(request, service, principal)
    if isinstance(found, SupernetRead):
        return found
    return JSONResponse(
        found.model_dump(mode="json"),
        202,
        {"Location": f"/v1/supernets/{found.id}", "Retry-After": str(RETRY_AFTER_SECONDS)},
    )


async def _registered(
    request: Request, service: Service, principal: Principal
) -> SupernetRead | SupernetPending:
    found = media_type(request)
    if found == FORM:
        return await _from_form(request, service, principal)
    if found == JSON:
        return await _from_json(request, service, principal)
    raise refuse(
        "unsupported-media-type",
        f"a super-network comes as {FORM} or {JSON}, found {found!r}",
    )


async def _from_form(
    request: Request, service: Service, principal: Principal
) -> SupernetRead | SupernetPending:
    async with request.form(max_files=1, max_fields=8) as form:
        unknown = set(form) - {"archive", "name"}
        if unknown:
            raise InputError(
                "there is no such form field",
                field=sorted(unknown)[0],
                remedy="valid are archive and name",
            )
        upload, name = form.get("archive"), form.get("name")
        if not isinstance(upload, UploadFile):
            raise InputError(
                "the form has no such file",
                field="archive",
                remedy="send the checkpoint as a file in this multipart field",
            )
        try:
            asked = NAME.validate_python(name or "")
        except ValidationError as error:
            raise InputError(
                f"a name is text of at most {MAX_NAME} characters, without NUL",
                field="name",
                value=name[:MAX_NAME] if isinstance(name, str) else None,
            ) from error
        source = partial(sources.from_upload, upload.file, settings=service.settings)
        return await register(
            service, principal, source, asked or storable(upload.filename or "")[:MAX_NAME]
        )


async def _from_json(
    request: Request, service: Service, principal: Principal
) -> SupernetRead | SupernetPending:
    body = parse_json(await request.body())
    model: type[SupernetFromHub] | type[SupernetFromPath]
    model = SupernetFromHub if isinstance(body, dict) and "hub_id" in body else SupernetFromPath
    try:
        asked = model.model_validate(body)
    except ValidationError as error:
        found = [{**each, "loc": ("body", *each["loc"])} for each in error.errors()]
        raise ProblemError(validation_problem(found, model)) from error
    if isinstance(asked, SupernetFromHub):
        hub = partial(sources.from_hub, asked, settings=service.settings)
        return await register(service, principal, hub, asked.name or asked.hub_id)
    path = partial(sources.from_path, asked, settings=service.settings)
    return await register(service, principal, path, asked.name)


@router.get("", summary="List super-networks")
def list_supernets(
    service: ServiceDep, principal: PrincipalDep, limit: Limit = 50, cursor: Cursor = None
) -> Page[AnySupernet]:
    """The newest first, those that are not ready too: `state` says so."""
    with service.database.read() as session:
        rows, following = repository.page(session, principal, limit=limit, cursor=cursor)
    return Page(items=[reading.any_state(row) for row in rows], next_cursor=following)


@router.get("/{supernet_id}", summary="Read a super-network", responses=documented("not-found"))
def read_supernet(
    supernet_id: Identity, service: ServiceDep, principal: PrincipalDep
) -> AnySupernet:
    """Its method, the summary of its space, and what its largest and smallest subnets cost.

    While a worker reads the checkpoint its `state` is `reading`; `failed` comes with the problem.
    """
    with service.database.read() as session:
        row = repository.found(session, principal, supernet_id)
    return reading.read(row) if row.state == SupernetState.READY else pursue(service, row)


@router.get(
    "/{supernet_id}/space",
    summary="The search space",
    responses=documented("not-found", "supernet-not-ready"),
)
def read_space(supernet_id: Identity, service: ServiceDep, principal: PrincipalDep) -> SpaceRead:
    """Every dimension with its choices."""
    with service.database.read() as session:
        ready(repository.found(session, principal, supernet_id))
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
        ready(repository.found(session, principal, supernet_id))
        supernet = service.reports.get(session, supernet_id)
    length = body.max_length or supernet.report.reference_length
    require_length(length, supernet.report.max_positions)
    return supernet.cost(supernet.space.subnet(body.subnet), length)


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
