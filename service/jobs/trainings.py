"""``/v1/trainings``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from elasticnas.api_schemas.jobs import (
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

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
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
            },
            "application/json": {
                "schema": {
                    "oneOf": [
                        TrainingFromPath.model_json_schema(),
                        TrainingFromHub.model_json_schema(),
                    ]
                }
            },
        },
    }
}


@router.post(
    "",
    status_code=202,
    summary="Train a super-network",
    openapi_extra=BODY,
    responses=documented(
        "source-not-allowed",
        "too-large",
        "unsupported-media-type",
        "invalid-input",
        "idempotency-conflict",
        "storage-full",
    ),
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
    start = partial(_start, service, principal, idempotency_key)
    job = await _taken(request, start, service.settings)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job


async def _taken(
    request: Request, start: Callable[..., JobRead], settings: ServiceSettings
) -> JobRead:
    """What ``start`` makes of the request that a form or a JSON body is, and of its model."""
    if (found := media_type(request)) == FORM:
        async with upload_form(request, "archive", "request") as form:
            content = parse_json(form.texts.get("request", "{}").encode())
            asked = sources.validated(TrainingCreate, content)
            upload = partial(sources.from_upload, form.file, settings=settings)
            return await run_in_threadpool(start, asked, upload)
    if found == JSON:
        body, source = sources.of_json(
            await request.body(), TrainingFromPath, TrainingFromHub, settings
        )
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
