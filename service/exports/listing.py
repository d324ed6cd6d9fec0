"""``/v1/searches/{id}/subnets/{number}/exports``: which formats there are of a subnet."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter

from elasticnas.api_schemas.fields import Identity, Number
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.searches import EvaluationState
from elasticnas.api_schemas.spaces import RANK
from elasticnas.api_schemas.weights import ExportRead, ExportsRead, WeightsFormat
from elasticnas.api_schemas.workers import WorkKind
from elasticnas.service.exports import repository
from elasticnas.service.exports.tables import ExportRow, ExportState
from elasticnas.service.http.problems import documented
from elasticnas.service.principal import PrincipalDep
from elasticnas.service.runtime import ServiceDep
from elasticnas.service.searches import lookup
from elasticnas.service.searches import repository as searches
from elasticnas.service.searches.tables import EvaluationRow
from elasticnas.service.supernets.report_cache import ReportedSupernet
from elasticnas.service.workers import repository as workers
from elasticnas.service.workers.tables import WorkerRow
from elasticnas.service.workers.work import work_of

router = APIRouter(prefix="/v1/searches", tags=["weights"])


@router.get(
    "/{search_id}/subnets/{number}/exports",
    summary="List the formats of a subnet's weights",
    responses=documented("not-found"),
)
def list_exports(
    search_id: Identity, number: Number, service: ServiceDep, principal: PrincipalDep
) -> ExportsRead:
    """Which are possible, or why not; which are built. Asking builds nothing."""
    with service.database.read() as session:
        search = searches.found(session, principal, search_id)
        row = lookup.found(session, search_id, number)
        supernet = service.reports.get(session, search.supernet_id)
        built = {each.format: each for each in repository.all_of_subnet(session, search_id, number)}
        is_pending = any(each.state == ExportState.PENDING for each in built.values())
        alive = workers.alive(session, service.silence) if is_pending else ()
        builders = {
            work.identity: worker
            for worker in alive
            for work in map(work_of, worker.evaluating)
            if work is not None and work.kind is WorkKind.EXPORT
        }
    address = f"/v1/searches/{search_id}/subnets/{number}/weights"
    return ExportsRead(
        items=[
            _with_state(
                _absent(each, row, supernet, f"{address}?format={each}"),
                built.get(each),
                builders,
            )
            for each in WeightsFormat
        ]
    )


def _with_state(
    read: ExportRead, export: ExportRow | None, builders: Mapping[str, WorkerRow]
) -> ExportRead:
    """With how far the export is, and who builds it: the workers by the exports they are at."""
    if export is None:
        return read
    builder = builders.get(export.id) if export.state == ExportState.PENDING else None
    stored = None if export.problem is None else Problem.model_validate(export.problem)
    return ExportRead.model_validate(
        {
            **dict(read),
            "state": export.state,
            "size_bytes": export.size_bytes,
            "problem": stored,
            "requested_at": export.requested_at,
            "finished_at": export.finished_at,
            "worker": None if builder is None else builder.name,
            "written_bytes": None if builder is None else (builder.written or {}).get(export.id),
        }
    )


def _absent(
    weights_format: WeightsFormat, row: EvaluationRow, supernet: ReportedSupernet, path: str
) -> ExportRead:
    """A format that nobody has asked for yet."""
    possible, reason = _possible(weights_format, row, supernet)
    return ExportRead(
        format=weights_format, possible=possible, reason=reason, state="absent", path=path
    )


def _possible(
    weights_format: WeightsFormat, row: EvaluationRow, supernet: ReportedSupernet
) -> tuple[bool | None, str | None]:
    """Whether there can be such weights, and why not; None: a worker will find out."""
    if row.state != EvaluationState.COMPLETED:
        return False, f"the evaluation is {row.state}, and weights are of completed ones"
    if weights_format is WeightsFormat.TRANSFORMERS:
        return True, None
    if weights_format is not WeightsFormat.PEFT:
        return None, None
    if not supernet.report.has_adapters:
        return False, "the super-network has no LoRA adapter"
    cut = [
        dimension.name
        for dimension, choice in zip(supernet.space.dimensions, row.choices, strict=True)
        if choice and dimension.part != RANK
    ]
    if cut:
        return False, f"an adapter can only have smaller ranks, and this subnet cuts {cut[0]}"
    return None, None
