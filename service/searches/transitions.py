"""What requests do to a search's state: each one conditional update, or 409."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy.orm import Session

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import (
    MAX_EVALUATIONS,
    MAX_SECONDS,
    Budget,
    BudgetExtension,
    SearchCreate,
    SearchState,
    StopReason,
)
from elasticnas.service.database import now
from elasticnas.service.http.problems import refuse
from elasticnas.service.principal import Principal
from elasticnas.service.runtime import Service
from elasticnas.service.searches import dispatch_repository as dispatches
from elasticnas.service.searches import front_repository as fronts
from elasticnas.service.searches import repository
from elasticnas.service.searches.kept_weights import require_room
from elasticnas.service.searches.tables import SearchRow
from elasticnas.service.searches.transaction import exceeds_failures


def pause(service: Service, principal: Principal, search_id: str) -> SearchRow:
    """Begin no further evaluation; workers finish the ones they have begun, and these count."""
    row = _move(
        service,
        principal,
        search_id,
        "paused",
        (SearchState.QUEUED, SearchState.RUNNING),
        SearchState.PAUSED,
    )
    service.queue.halt(search_id, "paused")
    return row


def resume(service: Service, principal: Principal, search_id: str) -> SearchRow:
    """Let a paused search go on."""
    return _move(
        service, principal, search_id, "resumed", (SearchState.PAUSED,), SearchState.QUEUED
    )


def cancel(service: Service, principal: Principal, search_id: str) -> SearchRow:
    """End a search now; its evaluations in flight are dropped."""

    def end(session: Session, row: SearchRow) -> None:
        repository.end(session, row, SearchState.CANCELLED, StopReason.CANCELLED)

    going = SearchState.unfinished()
    row = _move(service, principal, search_id, "cancelled", going, SearchState.CANCELLED, end)
    service.queue.halt(search_id, "ended")
    return row


def extend(
    service: Service, principal: Principal, search_id: str, more: BudgetExtension
) -> SearchRow:
    """Add to the budget. A search that has ended goes on from its rows.

    One that ended on a plateau goes on without that rule, which would end it again at once.

    Raises:
        InputError: more evaluations or seconds than a budget may have, or seconds for a search
            without any.
    """

    def add(session: Session, row: SearchRow) -> None:
        request = SearchCreate.model_validate(row.request)
        if exceeds_failures(row, request):
            raise refuse(
                "illegal-transition",
                f"too many evaluations of the {row.state} search failed; retry them first",
                search_state=row.state,
            )
        changes: dict[str, Any] = {"budget": _extended(request.budget, more)}
        if row.stop_reason == StopReason.PLATEAU:
            changes["plateau"] = None
        extended = request.model_copy(update=changes)
        supernet = service.reports.get(session, row.supernet_id)
        require_room(extended, supernet, service.settings.trained_weights_bytes, "evaluations")
        row.request = extended.model_dump(mode="json")
        if row.finished_at is not None:
            _reopen(session, row)

    return _move(service, principal, search_id, "extended", tuple(SearchState), None, add)


def retry(service: Service, principal: Principal, search_id: str) -> SearchRow:
    """Evaluate, or verify, what failed once more. A search that has ended goes on."""

    def again(session: Session, row: SearchRow) -> None:
        retried = dispatches.retry_failed(session, row.id, now())
        unverified = fronts.retry_verification(session, row.id)
        if not retried and not unverified:
            raise refuse(
                "illegal-transition",
                f"no evaluation or verification of the {row.state} search failed",
                search_state=row.state,
            )
        row.front_revision += bool(unverified)
        row.failed -= retried
        if row.finished_at is not None:
            _reopen(session, row)

    return _move(service, principal, search_id, "retried", tuple(SearchState), None, again)


def delete(service: Service, principal: Principal, search_id: str) -> None:
    """Delete a search that has ended, with everything that belongs to it."""
    with service.database.write() as session:
        row = repository.found(session, principal, search_id, lock=True)
        if not SearchState(row.state).is_final:
            raise refuse(
                "illegal-transition",
                f"a {row.state} search cannot be deleted; cancel it first",
                search_state=row.state,
            )
        repository.delete_with_results(session, row)


def _extended(budget: Budget, more: BudgetExtension) -> Budget:
    if more.seconds and budget.seconds is None:
        raise InputError(
            "the search has no time budget to extend",
            field="seconds",
            value=more.seconds,
            remedy="leave it out: the search may run as long as its evaluations take",
        )
    if budget.evaluations + more.evaluations > MAX_EVALUATIONS:
        raise InputError(
            f"a budget is at most {MAX_EVALUATIONS} evaluations",
            field="evaluations",
            value=more.evaluations,
            remedy=f"the search has {budget.evaluations}; "
            f"add at most {MAX_EVALUATIONS - budget.evaluations}",
        )
    if budget.seconds is not None and budget.seconds + more.seconds > MAX_SECONDS:
        raise InputError(
            f"a budget is at most {MAX_SECONDS:.0f} seconds",
            field="seconds",
            value=more.seconds,
            remedy=f"the search has {budget.seconds:.15g}; "
            f"add at most {MAX_SECONDS - budget.seconds:.15g}",
        )
    return Budget(
        evaluations=budget.evaluations + more.evaluations,
        seconds=None if budget.seconds is None else budget.seconds + more.seconds,
    )


def _reopen(session: Session, row: SearchRow) -> None:
    row.finished_at = None
    row.stop_reason = None
    row.error = None
    repository.enter(session, row, SearchState.QUEUED)


def _move(
    service: Service,
    principal: Principal,
    search_id: str,
    done: str,
    allowed: Collection[SearchState],
    target: SearchState | None,
    change: Callable[[Session, SearchRow], None] | None = None,
) -> SearchRow:
    """Change a search that is in one of the ``allowed`` states, in one transaction.

    The update that raises the search's revision holds only in those states: of two requests at the
    same moment the second finds the search in another state. A search that is in the ``target``
    state already is left as it is.
    """
    with service.database.write() as session:
        is_moved = repository.raise_revision(session, principal, search_id, allowed)
        row = repository.found(session, principal, search_id, lock=True)
        if not is_moved and row.state != target:
            raise refuse(
                "illegal-transition",
                f"a {row.state} search cannot be {done}",
                search_state=row.state,
            )
        if is_moved:
            if change is not None:
                change(session, row)
            elif target is not None:
                row.error = None  # why the service paused it, if it did
                repository.enter(session, row, target)
    if service.coordinator is not None:
        service.coordinator.wake()
    return row
