"""``/v1/trainings``, and ``/v1/supernets/derive``, which is one of its recipes by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from elasticnas.api_schemas.jobs import (
    DeriveCreate,
    DeriveFromHub,
    DeriveFromPath,
    JobRead,
    TrainingCreate,
    TrainingFromHub,
    TrainingFromPath,
)
from elasticnas.service.http.forms import upload_form
from elasticnas.service.http.json_body import parse_json
from elasticnas.service.http.problems import documented, refuse
from elasticnas.service.http.routing import FORM, JSON, StrictRoute, media_type
from elasticnas.service.idempotency import KeyHeader
from elasticnas.service.jobs.creation import start_training
from elasticnas.service.jobs.endpoints import read
from elasticnas.service.principal import Principal, PrincipalDep
from elasticnas.service.runtime import Service, ServiceDep
from elasticnas.service.settings import ServiceSettings
from elasticnas.service.supernets import sources
from elasticnas.service.supernets.endpoints import ARCHIVE

router = APIRouter(prefix="/v1/trainings", tags=["jobs"], route_class=StrictRoute)

derivations = APIRouter(prefix="/v1/supernets", tags=["jobs"], route_class=StrictRoute)


@dataclass(frozen=True)
class Door:
    """What a request may be: beside an uploaded archive, or of a path or a repository."""

    uploaded: type[TrainingCreate]
    path: type[TrainingFromPath]
    hub: type[TrainingFromHub]

    @property
    def body(self) -> dict[str, Any]:
        """How OpenAPI describes it."""
        form = {
            "type": "object",
            "required": ["archive", "request"],
            "properties": {
                "archive": ARCHIVE,
                "request": {
                    "type": "string",
                    "description": "JSON of the recipe, its settings and the dataset_id",
                },
            },
        }
        read = [
            kind.model_json_schema(ref_template="#/components/schemas/{model}")
            for kind in (self.path, self.hub)
        ]
        content = {FORM: {"schema": form}, JSON: {"schema": {"oneOf": read}}}
        return {"requestBody": {"required": True, "content": content}}


TRAINING = Door(TrainingCreate, TrainingFromPath, TrainingFromHub)
DERIVATION = Door(DeriveCreate, DeriveFromPath, DeriveFromHub)
PROBLEMS = documented(
    "source-not-allowed",
    "too-large",
    "unsupported-media-type",
    "invalid-input",
    "idempotency-conflict",
    "storage-full",
)


@router.post(
    "",
    status_code=202,
    summary="Train a super-network",
    openapi_extra=TRAINING.body,
    responses=PROBLEMS,
)
async def create_training(
    request: Request,
    response: Response,
    service: ServiceDep,
    principal: PrincipalDep,
    idempotency_key: KeyHeader = None,
) -> JobRead:
    """Make a super-network of a pretrained model, on the rows of a dataset.

    The model is a Hugging Face folder: an archive of it, or a path or hub repository where the
    operator allows that. Answers with the job once the model is stored; the job ends with a
    super-network that is registered.
    """
    taken = partial(_start, service, principal, idempotency_key)
    return await _answer(request, response, taken, TRAINING, service.settings)


@derivations.post(
    "/derive",
    status_code=202,
    summary="Derive a super-network",
    openapi_extra=DERIVATION.body,
    responses=PROBLEMS,
)
async def create_derivation(
    request: Request,
    response: Response,
    service: ServiceDep,
    principal: PrincipalDep,
    idempotency_key: KeyHeader = None,
) -> JobRead:
    """Make a super-network of a fine-tuned model without training it.

    A few hundred rows of the dataset say which heads and neurons matter. The model comes as that of
    a training does, and the job is one of the recipe `derive`.
    """
    taken = partial(_start, service, principal, idempotency_key)
    return await _answer(request, response, taken, DERIVATION, service.settings)


async def _answer(
    request: Request,
    response: Response,
    start: Callable[..., JobRead],
    door: Door,
    settings: ServiceSettings,
) -> JobRead:
    job = await _taken(request, start, door, settings)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


async def _taken(
    request: Request, start: Callable[..., JobRead], door: Door, settings: ServiceSettings
) -> JobRead:
    """What ``start`` makes of the request that a form or a JSON body is, and of its model."""
    if (found := media_type(request)) == FORM:
        async with upload_form(request, "archive", "request") as form:
            content = parse_json(form.texts.get("request", "{}").encode())
            asked = sources.validated(door.uploaded, content)
            upload = partial(sources.from_upload, form.file, settings=settings)
            return await run_in_threadpool(start, asked, upload)
    if found == JSON:
        body, source = sources.of_json(await request.body(), door.path, door.hub, settings)
        return await run_in_threadpool(start, body, source)
    raise refuse("unsupported-media-type", f"a training comes as {FORM} or {JSON}, found {found!r}")


def _start(
    service: Service,
    principal: Principal,
    key: str | None,
    asked: TrainingCreate,
    source: sources.Source,
) -> JobRead:
    return read(service, start_training(service, principal, asked, source, key))
