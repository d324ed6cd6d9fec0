"""What workers report of a search becomes part of it, or is asked for again."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from sqlalchemy.orm import Session

from elasticnas.api_schemas.messages import SubnetOutcome
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.searches import SearchState
from elasticnas.service.http.problems import problem
from elasticnas.service.searches import dispatch_repository as dispatches
from elasticnas.service.searches import inbox, transaction
from elasticnas.service.searches.active import ActiveSearch, Outcome
from elasticnas.service.searches.tables import SearchRow

log = logging.getLogger(__name__)

PRECISION_ATTEMPTS = 3
"""How often an evaluation is sent that comes back in another precision than asked for. Where the
worker does not say which, it is of an earlier version and will be replaced: there is no limit."""


def take_up(
    session: Session,
    row: SearchRow,
    active: ActiveSearch,
    reported: Iterable[tuple[int, str | None, SubnetOutcome | None]],
) -> None:
    """Make what workers reported part of the search; what they declined is sent again.

    A worker without room on its disk measures nothing, so the search is paused until there is some.
    """
    outcomes: list[Outcome] = []
    back: list[int] = []
    full: Problem | None = None
    for number, worker, outcome in reported:
        if number not in active.in_flight:
            continue
        if active.in_flight[number].waits:  # a message that came twice
            dispatches.forget_reports(session, row.id, [number])
        elif outcome is None:
            back.append(number)
        elif outcome.problem is not None and outcome.problem.type == inbox.STORAGE_FULL:
            back.append(number)
            full = outcome.problem
        elif _is_of_another_precision(outcome, active):
            log.warning(
                "search %s: worker %s measured %d in %s, and %s was asked for",
                row.id,
                worker,
                number,
                outcome.precision or "a precision that it does not say",
                active.conditions.precision,
            )
            if outcome.precision is None or outcome.attempt < PRECISION_ATTEMPTS:
                back.append(number)
            else:
                outcomes.append(_in_another_precision(outcome, worker, active))
        elif _is_of_an_earlier_version(outcome, active):
            log.warning("search %s: worker %s kept nothing of %d", row.id, worker, number)
            back.append(number)
        else:
            outcomes.append(Outcome.of(outcome, worker))
    if back:
        dispatches.forget_reports(session, row.id, back)
        transaction.resend(session, row, active, back)
    transaction.record(session, row, active, outcomes)
    if full is not None and row.state == SearchState.RUNNING:
        transaction.pause(session, row, active, full)


def _is_of_an_earlier_version(outcome: SubnetOutcome, active: ActiveSearch) -> bool:
    """A worker that knows nothing of starts and rungs trains in full, and keeps nothing of it."""
    training = active.conditions.fine_tuning
    if training is None or outcome.metrics is None:
        return False
    if active.stops_at(outcome.number) is not None:
        return outcome.state is None
    return training.keeps_weights and outcome.weights is None


def _is_of_another_precision(outcome: SubnetOutcome, active: ActiveSearch) -> bool:
    """Workers of this version measure as they are asked to; one of an earlier version may not."""
    return outcome.problem is None and outcome.precision is not active.conditions.precision


def _in_another_precision(
    outcome: SubnetOutcome, worker: str | None, active: ActiveSearch
) -> Outcome:
    """A failure: metrics of two precisions are not compared within one search."""
    error = problem(
        "evaluation-failed",
        f"worker {worker} measured in {outcome.precision}, and the search asked for "
        f"{active.conditions.precision}; workers of an earlier version do that: replace them, then "
        "retry",
    )
    failed = outcome.model_copy(
        update={"metrics": None, "hits": None, "given_up": None, "problem": error}
    )
    return Outcome.of(failed, worker)
