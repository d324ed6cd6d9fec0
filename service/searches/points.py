"""``/v1/searches/{id}/points``: every evaluation that is over, as columns."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response
from pydantic_core import to_json
from sqlalchemy.orm import Session

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.fields import Identity, LongText, Number
from elasticnas.api_schemas.points import MAX_POINTS, PointField, PointsRead
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import SearchCreate
from elasticnas.service.http.etags import etag_of, matches
from elasticnas.service.http.problems import documented
from elasticnas.service.http.routing import StrictRoute
from elasticnas.service.principal import PrincipalDep
from elasticnas.service.runtime import ServiceDep
from elasticnas.service.searches import evaluation_repository as evaluations
from elasticnas.service.searches import front_repository as fronts
from elasticnas.service.searches import repository
from elasticnas.service.searches.columns import USUAL, stored_in
from elasticnas.service.searches.tables import SearchRow
from elasticnas.tasks import TASKS

router = APIRouter(prefix="/v1/searches", tags=["searches"], route_class=StrictRoute)

EVERY = "*"

Fields = Annotated[
    LongText | None,
    Query(
        description="names separated by commas: metrics of the task, costs, and "
        f"{', '.join(PointField)}. `*` alone: as an event of results has them, {', '.join(USUAL)}, "
        "and every metric and cost. Left out: number, state and the search's objectives"
    ),
]
After = Annotated[Number, Query(description="only results recorded after so many: 0 for all")]
PointsLimit = Annotated[int, Query(ge=1, le=MAX_POINTS, description="most points in one answer")]


@router.get(
    "/{search_id}/points",
    summary="Every result, as columns",
    response_model=PointsRead,
    responses={
        **documented("not-found", "invalid-input"),
        304: {"description": "Unchanged since the given ETag"},
    },
)
def read_points(
    search_id: Identity,
    service: ServiceDep,
    principal: PrincipalDep,
    fields: Fields = None,
    after: After = 0,
    limit: PointsLimit = MAX_POINTS,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Tens of thousands of evaluations in one answer, in the order of their results.

    Read on from the answer's `after`: what has been recorded since comes, an evaluation that was
    retried once more under its number, and the whole front.
    """
    with service.database.read() as session:
        search = repository.found(session, principal, search_id)
        names = _fields(search, fields)
        state = _state(search)
        etag = etag_of(search_id, state, names, after, limit)
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        if matches(if_none_match, etag):
            return Response(status_code=304, headers=headers)
        if (body := service.points.get(etag)) is None:
            body = _render(session, search, names, after, limit)
            if _state(repository.found(session, principal, search_id)) == state:
                service.points.keep(etag, body)  # else results came while they were read
    return Response(body, media_type="application/json", headers=headers)


def _state(search: SearchRow) -> tuple[int, int, int]:
    """What changes with everything that points show."""
    return search.revision, search.recorded, search.front_revision


def _render(
    session: Session, search: SearchRow, names: list[str] | None, after: int, limit: int
) -> bytes:
    """The points as they are now; with ``names`` None every field."""
    # The front first: each of its members is then among the points read so far.
    front = sorted(fronts.members(session, search.id))
    needed = (*USUAL, "metrics", "cost") if names is None else [stored_in(each) for each in names]
    found = evaluations.recorded(session, search.id, needed, after=after, limit=limit)
    shown = found.every_field(search.task) if names is None else names
    return to_json(
        {
            "count": found.count,
            "columns": {str(name): found.column(name) for name in shown},
            "after": after if found.last is None else found.last,
            "more": found.more,
            "front": front,
        }
    )


def _fields(search: SearchRow, asked: str | None) -> list[str] | None:
    """The names of the columns to answer with; None for all.

    Raises:
        InputError: one of those asked for is no field of this search's points.
    """
    if asked is None:
        objectives = SearchCreate.model_validate(search.request).objectives or []
        return [PointField.NUMBER, PointField.STATE, *objectives]
    if asked.strip() == EVERY:
        return None
    metrics = [metric.name for metric in TASKS[search.task].metrics]
    valid = [*map(str, PointField), *metrics, *map(str, Cost)]
    names = list(dict.fromkeys(name.strip() for name in asked.split(",")))
    for name in names:
        if name not in valid:
            raise InputError(
                "there is no such field of this search's points",
                field="fields",
                value=name,
                remedy=f"valid are {', '.join(valid)}; or `{EVERY}` alone for the usual ones",
            )
    return names
