"""``/v1/searches/{id}/subnets/{number}/finetune``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Response

from elasticnas.api_schemas.fields import Identity, Number
from elasticnas.api_schemas.finetuning import FinetuneCreate
from elasticnas.api_schemas.jobs import JobRead
from elasticnas.service.http.problems import documented
from elasticnas.service.http.routing import StrictRoute
from elasticnas.service.idempotency import KeyHeader
from elasticnas.service.jobs.endpoints import read
from elasticnas.service.jobs.finetuning import start_finetuning
from elasticnas.service.principal import PrincipalDep
from elasticnas.service.runtime import ServiceDep

router = APIRouter(prefix="/v1/searches", tags=["jobs"], route_class=StrictRoute)


@router.post(
    "/{search_id}/subnets/{number}/finetune",
    status_code=202,
    summary="Train a subnet on by itself",
    responses=documented(
        "not-found", "not-completed", "invalid-request", "invalid-input", "idempotency-conflict"
    ),
)
def create_finetuning(
    search_id: Identity,
    number: Annotated[Number, Path()],
    body: FinetuneCreate,
    response: Response,
    service: ServiceDep,
    principal: PrincipalDep,
    idempotency_key: KeyHeader = None,
) -> JobRead:
    """Train a subnet that the search has measured, on the rows of another dataset.

    The maximal subnet teaches it. The job's step `measure` leaves the model, an ordinary folder of
    Transformers; `finetuned.metrics` are those it has on the search's rows, beside those it had.
    """
    job = read(
        service, start_finetuning(service, principal, search_id, number, body, idempotency_key)
    )
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job
