"""``/v1/workers``."""

from __future__ import annotations

from fastapi import APIRouter

from elasticnas.api_schemas.paging import Page
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.workers import WorkerMemory, WorkerRead
from elasticnas.service.http.paging import Limit
from elasticnas.service.principal import PrincipalDep
from elasticnas.service.runtime import ServiceDep
from elasticnas.service.searches.coordinator_repository import count_alive
from elasticnas.service.supernets import repository as supernets
from elasticnas.service.workers import repository
from elasticnas.service.workers.tables import WorkerRow
from elasticnas.service.workers.work import Workshop

router = APIRouter(prefix="/v1/workers", tags=["operations"])


@router.get("", summary="List workers")
def list_workers(
    service: ServiceDep, principal: PrincipalDep, limit: Limit = 100
) -> Page[WorkerRead]:
    """The one heard from last comes first. Workers serve all owners: of what one keeps
    warm and is at, only your own is listed."""
    with service.database.read() as session:
        rows, moment = repository.latest(session, limit)
        is_heard = service.drives or count_alive(session) > 0
        warm = {digest for row in rows for digest in row.warm_supernets}
        workshop = Workshop.look(
            session, principal, {key for row in rows for key in row.evaluating}
        )
        mine = supernets.readable_digests(session, principal, warm)

    def is_alive(row: WorkerRow) -> bool | None:
        if row.stopping:
            return False
        return moment - row.last_seen_at < service.silence if is_heard else None

    inside = service.worker_inside
    loading = [inside.read()] if inside is not None and inside.is_loading else []
    return Page(
        items=loading
        + [
            WorkerRead(
                name=row.name,
                device=row.device,
                device_name=row.device_name,
                alive=is_alive(row),
                at=[] if row.stopping else workshop.at(row.evaluating),
                busy=row.busy,
                memory=None if row.memory is None else WorkerMemory.model_validate(row.memory),
                evaluations=row.evaluations,
                warm_supernets=[digest for digest in row.warm_supernets if digest in mine],
                precision=None if row.precision is None else Precision(row.precision),
                precisions=None
                if row.precisions is None
                else [Precision(each) for each in row.precisions],
                started_at=row.started_at,
                last_seen_at=row.last_seen_at,
            )
            for row in rows
        ]
    )
