"""``/v1/searches/{id}/subnets/{number}/weights``."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import FileResponse, JSONResponse, Response

from elasticnas.api_schemas.fields import Identity, Number
from elasticnas.api_schemas.weights import ExportPending, WeightsFormat
from elasticnas.service.exports.building import Weights, export_of
from elasticnas.service.exports.download import LeasedFile
from elasticnas.service.exports.tables import ExportState
from elasticnas.service.http.etags import matches
from elasticnas.service.http.problems import documented
from elasticnas.service.principal import PrincipalDep
from elasticnas.service.runtime import ServiceDep

router = APIRouter(prefix="/v1/searches", tags=["weights"])

RETRY_AFTER_SECONDS = 1


@router.get(
    "/{search_id}/subnets/{number}/weights",
    summary="Download a subnet's weights",
    response_class=FileResponse,
    responses={
        **documented("not-found", "not-completed", "export-failed", "queue-unavailable"),
        200: {
            "description": "A zip of one folder; honours Range and If-None-Match",
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        },
        202: {"model": ExportPending, "description": "A worker builds it; ask after Retry-After"},
        304: {"description": "Unchanged since the given ETag"},
    },
)
def read_weights(
    search_id: Identity,
    number: Annotated[Number, Path()],
    service: ServiceDep,
    principal: PrincipalDep,
    format: Annotated[WeightsFormat, Query()] = WeightsFormat.TRANSFORMERS,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """202 while a worker builds the weights, then the archive.

    ``transformers`` is a self-contained folder; ``peft`` an adapter for the unmodified base, when
    only ranks were cut; ``onnx`` a graph for ONNX Runtime, of a model that is no language model.
    """
    row, folder = export_of(service, Weights(principal, search_id, number, format))
    if row.state == ExportState.PENDING:
        pending = ExportPending(
            search_id=search_id,
            number=number,
            format=format,
            state=row.state,
            requested_at=row.requested_at,
        )
        return JSONResponse(
            pending.model_dump(mode="json"), 202, {"Retry-After": str(RETRY_AFTER_SECONDS)}
        )
    assert row.digest is not None
    etag = f'"{row.digest}"'
    if matches(if_none_match, etag):
        return Response(status_code=304, headers={"ETag": etag})
    return LeasedFile(
        service.blobs.lease(row.digest),
        media_type="application/zip",
        filename=f"{folder}-{format.value}.zip",
        headers={"ETag": etag},
    )
