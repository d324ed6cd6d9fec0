"""What workers say of evaluations, kept until the search's coordinator takes it up.

Any process may hear a worker; one drives the search. So a result is first written to its row, in a
transaction of its own, and is safe from then on.

Each function here locks the search first, as every change of a search does: two transactions that
lock a search and its evaluations in different orders would wait for each other for ever.
"""

from __future__ import annotations

import logging

from sqlalchemy.orm import Session

from elasticnas.api_schemas.messages import (
    SubnetsDeclined,
    SubnetsEvaluated,
    SubnetsStarted,
    SubnetsVerified,
)
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.searches import SearchState
from elasticnas.service.database import now
from elasticnas.service.searches import dispatch_repository as dispatches
from elasticnas.service.searches import evaluation_repository as evaluations
from elasticnas.service.searches import repository
from elasticnas.service.searches.tables import EvaluationRow, SearchRow

log = logging.getLogger(__name__)

VERIFY_ATTEMPTS = 3
"""How often a front member is sent to be verified, unless somebody asks for more."""
STORAGE_FULL = "/problems/storage-full"
TIMEOUT = "/problems/evaluation-timeout"


def started(session: Session, result: SubnetsStarted) -> None:
    """A worker has begun these; the ones that are over meanwhile stay as they are."""
    repository.locked(session, result.search_id)
    dispatches.mark_running(session, result.search_id, result.numbers, result.worker, now())
    dispatches.count_running(session, result.search_id)


def evaluated(session: Session, result: SubnetsEvaluated) -> None:
    """A worker has measured these. The first result of an evaluation wins, later ones are dropped;
    so are those of a search that is over, which has no unfinished rows."""
    repository.locked(session, result.search_id)
    for outcome in result.outcomes:
        dispatches.keep_report(session, result.search_id, outcome, result.worker)


def declined(session: Session, result: SubnetsDeclined) -> None:
    """A worker took these out of the queue without beginning them: they must be sent again."""
    repository.locked(session, result.search_id)
    if result.verifies:
        for item in result.subnets:
            dispatches.decline_verification(session, result.search_id, item.number, item.attempt)
        return
    for item in result.subnets:
        dispatches.decline(session, result.search_id, item.number, item.attempt)
    dispatches.count_running(session, result.search_id)


def verified(session: Session, result: SubnetsVerified) -> None:
    """A worker has measured these once more, or says why it could not.

    The first success of each wins; one in another precision than the search's counts as declined,
    as workers of an earlier version do not say theirs. A failure that may pass is tried again,
    `VERIFY_ATTEMPTS` times in all; a worker without room on its disk has the search paused until
    there is some.
    """
    search = repository.locked(session, result.search_id)
    if search is None:
        return
    found = result.verified or [None] * len(result.numbers)
    drawn = result.resamples or [None] * len(result.numbers)
    for number, each, resamples in zip(result.numbers, found, drawn, strict=True):
        row = evaluations.of_number(session, result.search_id, number)
        if row is None or (row.verified is not None and "problem" not in row.verified):
            continue
        if each is not None and result.precision != search.precision:
            found_in = result.precision or "a precision that is not said"
            log.warning(
                "search %s: %d was verified in %s, and %s was asked for",
                search.id,
                number,
                found_in,
                search.precision,
            )
            dispatches.decline_verification(session, search.id, number, result.attempt)
        elif each is not None:
            row.verified = each.model_dump(mode="json")
            row.resamples = resamples
        elif row.verified is None and row.verify_attempt == result.attempt:
            _not_verified(session, search, row, result.problem)
    search.front_revision += 1


def _not_verified(
    session: Session, search: SearchRow, row: EvaluationRow, error: Problem | None
) -> None:
    full = error is not None and error.type == STORAGE_FULL
    passes = error is not None and error.status >= 500 and error.type != TIMEOUT
    if full or (passes and row.verify_attempt < VERIFY_ATTEMPTS):
        row.verify_attempt += 1
    else:
        row.verified = {"problem": None if error is None else error.model_dump(mode="json")}
    if full and error is not None and search.state == SearchState.RUNNING:
        search.error = error.model_dump(mode="json")
        search.revision += 1
        repository.enter(session, search, SearchState.PAUSED)
