"""``/healthz``, ``/readyz`` and the list of problem types."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from service import presence
from service.http.problems import KINDS, documented, not_found, refuse
from service.runtime import ServiceDep

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


class ProblemType(BaseModel):
    """One kind of problem document."""

    type: str
    title: str
    status: int
    description: str


@router.get("/healthz", summary="Is the process alive?")
def healthz() -> Health:
    """Always 200 while the process can answer at all."""
    return Health()


@router.get("/readyz", summary="Can it take work?", responses=documented("not-ready"))
def readyz(service: ServiceDep) -> Health:
    """200 while the database answers, has room, and a coordinator drives searches; 503 otherwise.

    The coordinator is this process, or any other that keeps its row alive.
    """
    try:
        service.database.check()
    except Exception as error:
        raise refuse("not-ready", "the database does not answer") from error
    if service.coordinator is not None and not service.coordinator.is_alive:
        raise refuse("not-ready", "searches are not being driven")
    if service.coordinator is not None and service.coordinator.without_room:
        raise refuse("not-ready", "the database's disk is full")
    if service.coordinator is None:
        with service.database.read() as session:
            if not presence.coordinators(session):
                raise refuse("not-ready", presence.NO_COORDINATOR)
    return Health()


@router.get("/problems", summary="Every type of problem document")
def list_problems() -> list[ProblemType]:
    """What the ``type`` of a problem can be, and what it means."""
    return [_read(name) for name in KINDS]


@router.get("/problems/{name}", summary="One type of problem", responses=documented("not-found"))
def read_problem(name: str) -> ProblemType:
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
