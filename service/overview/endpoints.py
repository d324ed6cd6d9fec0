"""``/v1/events``."""

from __future__ import annotations

from fastapi import APIRouter, Response

from elasticnas.api_schemas.overview import OverviewEventKind
from elasticnas.service.principal import PrincipalDep
from elasticnas.service.runtime import ServiceDep
from elasticnas.service.streaming.answer import (
    EventStream,
    LastEventIdHeader,
    LastEventIdQuery,
    described,
    event_stream,
)

router = APIRouter(prefix="/v1/events", tags=["events"])


@router.get(
    "",
    summary="Follow everything",
    response_class=EventStream,
    responses={
        status: answer
        for status, answer in described(OverviewEventKind, "owner").items()
        if status not in (204, 404)  # it is always there, and never over
    },
)
def all_events(
    service: ServiceDep,
    principal: PrincipalDep,
    last_event_id: LastEventIdHeader = None,
    last_event_id_in_query: LastEventIdQuery = None,
) -> Response:
    """Server-sent events: `progress` (no id, at most two a second) and `state` (kept).

    Progress is of all searches and jobs that have not ended. A state says which search or job has
    come into it, or was deleted. Ids count from 1 without a gap, and the last 10,000 are kept. The
    stream has no end.
    """
    seen = last_event_id, last_event_id_in_query
    return event_stream(service.overview_watcher, principal.owner, principal, *seen)
