"""What happens to a search, written down in the transaction in which it happens."""

from __future__ import annotations

from pydantic import BaseModel
from sqlalchemy.orm import Session

from elasticnas.api_schemas.overview import OverviewState, ThingKind
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.search_events import FrontEvent, SearchEventKind, StateEvent
from elasticnas.api_schemas.searches import SearchState, StopReason
from elasticnas.service.database import now
from elasticnas.service.overview import events as overview
from elasticnas.service.searches import event_repository
from elasticnas.service.searches.tables import SearchEventRow, SearchRow


def state_changed(session: Session, row: SearchRow) -> None:
    """The search is now in the state that its row says."""
    event = StateEvent(
        state=SearchState(row.state),
        stop_reason=None if row.stop_reason is None else StopReason(row.stop_reason),
        error=shown_error(row),
    )
    _add(session, row, SearchEventKind.STATE, event)
    tell_owner(session, row)


def tell_owner(session: Session, row: SearchRow, state: str | None = None) -> None:
    """The owner's stream says which state the search is in, if not the row's."""
    overview.tell(
        session,
        row.owner,
        OverviewState(
            kind=ThingKind.SEARCH,
            id=row.id,
            name=row.name,
            state=state or row.state,
            stop_reason=row.stop_reason,
            problem=shown_error(row),
        ),
    )


def front_changed(session: Session, row: SearchRow, event: FrontEvent) -> None:
    """An evaluation has entered the front."""
    _add(session, row, SearchEventKind.FRONT, event)


def shown_error(row: SearchRow) -> Problem | None:
    """The problem that a search failed with, or for which the service paused it."""
    if row.error is None or row.state not in (SearchState.FAILED, SearchState.PAUSED):
        return None
    return Problem.model_validate(row.error)


def _add(session: Session, row: SearchRow, kind: SearchEventKind, event: BaseModel) -> None:
    row.last_event += 1
    event_repository.add(
        session,
        SearchEventRow(
            search_id=row.id,
            number=row.last_event,
            kind=kind,
            data=event.model_dump(mode="json"),
            at=now(),
        ),
    )
