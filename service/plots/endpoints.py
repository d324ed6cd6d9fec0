"""``/v1/searches/{id}/plots``: a search as pictures."""

from __future__ import annotations

import json
import threading
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response

from elasticnas.api_schemas.fields import Identity
from elasticnas.api_schemas.plots import PictureFormat, PlotData, PlotKind
from elasticnas.service.http.etags import etag_of, matches
from elasticnas.service.http.problems import documented
from elasticnas.service.plots.subject import Subject
from elasticnas.service.principal import Principal, PrincipalDep
from elasticnas.service.runtime import Service, ServiceDep
from elasticnas.service.searches import repository

router = APIRouter(prefix="/v1/searches", tags=["searches"])

TRIES = 3
"""How often what is drawn is read anew because the search has moved on meanwhile."""

_drawing = threading.Lock()
"""A picture takes up to a second of one core: pictures wait for each other, so that those who ask
for many do not take the cores from everyone else."""


@router.get(
    "/{search_id}/plots/{kind}",
    summary="A picture of a search",
    response_class=Response,
    responses={
        **documented("not-found", "invalid-request", "nothing-to-draw"),
        200: {
            "model": PlotData,
            "content": {
                each.media_type: {"schema": {"type": "string", "format": "binary"}}
                for each in (PictureFormat.PNG, PictureFormat.SVG)
            }
            | {PictureFormat.VEGA_LITE.media_type: {"schema": {"type": "object"}}},
        },
        304: {"description": "Unchanged since the given ETag"},
    },
)
def read_plot(
    search_id: Identity,
    kind: PlotKind,
    service: ServiceDep,
    principal: PrincipalDep,
    format: Annotated[PictureFormat, Query()] = PictureFormat.PNG,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The front, the hypervolume's history, the importance of dimensions, or the chosen widths.

    As a picture (`png`, `svg`), as a Vega-Lite 5 specification with its data (`vega-lite`), or as
    that data alone (`json`).

    Of a search with more than 5,000 evaluations an even share is drawn, and the whole front. The
    ETag changes with every result that is recorded.
    """
    headers = {"Cache-Control": "no-cache"}
    revision = _revision(service, principal, search_id)
    if matches(if_none_match, etag := etag_of(search_id, kind, format, revision)):
        return Response(status_code=304, headers={**headers, "ETag": etag})
    with _drawing:
        body, is_current = _body(service, principal, search_id, kind, format)
    if is_current is not None:
        headers["ETag"] = is_current
    return Response(body, media_type=format.media_type, headers=headers)


def _body(
    service: Service,
    principal: Principal,
    search_id: str,
    kind: PlotKind,
    picture_format: PictureFormat,
) -> tuple[bytes, str | None]:
    """A picture with its ETag; without one if the search changes faster than it can be read."""
    for _ in range(TRIES):
        before = _revision(service, principal, search_id)
        etag = etag_of(search_id, kind, picture_format, before)
        if (kept := service.pictures.get(etag)) is not None:
            return kept, etag
        with service.database.read() as session:
            subject = Subject.read(session, principal, service.reports, search_id)
        if before == _revision(service, principal, search_id):
            body = _written(kind, subject, picture_format)
            service.pictures.keep(etag, body)
            return body, etag
    return _written(kind, subject, picture_format), None


def _written(kind: PlotKind, subject: Subject, picture_format: PictureFormat) -> bytes:
    # Matplotlib takes a while to import: not before a picture is asked for.
    from elasticnas.service.plots.data import plot_data
    from elasticnas.service.plots.vega_lite import vega_lite

    if picture_format is PictureFormat.JSON:
        return plot_data(kind, subject).model_dump_json().encode()
    if picture_format is PictureFormat.VEGA_LITE:
        return json.dumps(vega_lite(kind, subject)).encode()
    from elasticnas.service.plots.canvas import written
    from elasticnas.service.plots.registry import PLOTS

    return written(PLOTS[kind](subject), picture_format)


def _revision(
    service: Service, principal: Principal, search_id: str
) -> tuple[int, int, str | None]:
    """What changes with everything that a picture shows, or 404."""
    with service.database.read() as session:
        return repository.picture_revision(session, principal, search_id)
