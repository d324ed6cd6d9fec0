"""``/healthz``, ``/readyz`` and the list of problem types."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel

from elasticnas.api_schemas.fields import Identity
from elasticnas.service.http.problems import KINDS, documented, not_found, refuse
from elasticnas.service.readiness import Readiness
from elasticnas.service.runtime import Service

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


class Ready(Health):
    """It can take work; ``worker`` is the one inside the server, null where there is none."""

    worker: Literal["loading", "ready"] | None = None


class ProblemType(BaseModel):
    """One kind of problem document."""

    type: str
    title: str
    status: int
    description: str


# The next two need no thread of the pool that all requests share: it may be waiting for a database.
@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Health:
    """Always 200 while the process can answer at all."""
    return Health()


@router.get("/readyz", summary="Can it take work?", responses=documented("not-ready"))
async def readyz(request: Request) -> Ready:
    """200 while the database answers, has room, and searches are being driven; 503 otherwise.

    A worker inside the server may still be loading: what it is asked for then waits for it.

    The problem's ``missing`` names each part that is not as it should be, and says why.
    """
    readiness: Readiness = request.app.state.readiness
    missing = await readiness.missing()
    if missing:
        raise refuse(
            "not-ready",
            "; ".join(each.reason for each in missing),
            missing=[asdict(each) for each in missing],
        )
    service: Service = request.app.state.service
    if service.worker_inside is None:
        return Ready()
    return Ready(worker="loading" if service.worker_inside.is_loading else "ready")


@router.get("/problems", summary="Every type of problem document")
async def list_problems() -> list[ProblemType]:
    """What the ``type`` of a problem can be, and what it means."""
    return [_read(name) for name in KINDS]


@router.get("/problems/{name}", summary="One type of problem", responses=documented("not-found"))
async def read_problem(name: Identity) -> ProblemType:
    """What the ``type`` URI of a problem leads to."""
    if name not in KINDS:
        raise not_found("problem type", name)
    return _read(name)


def _read(name: str) -> ProblemType:
    kind = KINDS[name]
    return ProblemType(
        type=f"/problems/{name}",
        title=kind.title,
        status=kind.status,
        description=kind.description,
    )
