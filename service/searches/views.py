"""From stored searches and evaluations to what REST shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from elasticnas.api_schemas.halving import RungRead
from elasticnas.api_schemas.messages import EvaluateSubnets
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.racing import GivenUp
from elasticnas.api_schemas.searches import (
    Budget,
    EvaluationRead,
    EvaluationState,
    Progress,
    SearchCreate,
    SearchRead,
    SearchState,
    StopReason,
)
from elasticnas.api_schemas.training_starts import StartedFrom
from elasticnas.api_schemas.verification import Verified
from elasticnas.search.space import SearchSpace
from elasticnas.service.presence import Presence
from elasticnas.service.searches import evaluation_repository as evaluations
from elasticnas.service.searches import events, repository
from elasticnas.service.searches import front_repository as fronts
from elasticnas.service.searches.tables import EvaluationRow, SearchRow
from elasticnas.service.supernets.report_cache import ReportCache, ReportedSupernet

SPARKS = 32
GOING_ON = (SearchState.QUEUED, SearchState.RUNNING)


def read_searches(
    session: Session,
    reports: ReportCache,
    rows: Sequence[SearchRow],
    look: Callable[[Session], Presence],
) -> list[SearchRead]:
    """Searches as REST shows them, in as many statements for a thousand as for one.

    Reads one evaluation of each, its best. ``look`` says which processes are there.
    """
    goes_on = any(row.state in GOING_ON for row in rows)
    present = look(session) if goes_on else None
    best = {each.search_id: each for each in evaluations.best(session, [row.id for row in rows])}
    on_front = fronts.best_on_front(session, list(best))
    supernets = reports.get_all(session, {row.supernet_id for row in rows})
    queue = (
        repository.queued(session) if any(row.state == SearchState.QUEUED for row in rows) else []
    )
    return [
        _search(
            row,
            supernets[row.supernet_id],
            read_evaluation(
                best[row.id],
                supernets[row.supernet_id].space,
                {best[row.id].number} if row.id in on_front else (),
            )
            if row.id in best
            else None,
            None if present is None else _waiting_for(row, present),
            queue.index(row.id) + 1 if row.id in queue else None,
        )
        for row in rows
    ]


def sparklines(session: Session, searches: Sequence[SearchRead]) -> None:
    """Have searches say how their hypervolume has grown, in `SPARKS` points at most."""
    gains = fronts.gains(session, [each.id for each in searches])
    for search in searches:
        found = gains.get(search.id, [])
        # The last is always there, and the others are evenly spread.
        step = -(-len(found) // SPARKS) or 1
        search.sparkline = found[::-1][::step][::-1]


def read_evaluation(
    row: EvaluationRow | Row[Any], space: SearchSpace, front_numbers: Collection[int]
) -> EvaluationRead:
    """An evaluation as REST shows it, given the numbers that are on the front."""
    verified, error = row.verified, row.error
    if row.verified is not None and "problem" in row.verified:
        verified, error = None, row.verified["problem"]
    return EvaluationRead(
        number=row.number,
        state=EvaluationState(row.state),
        subnet=dict(space.decode(row.choices).choices),
        metrics=row.metrics,
        cost=row.cost,
        on_front=row.number in front_numbers,
        duration_seconds=row.duration_seconds,
        origin=row.origin,
        cached=row.cached,
        worker=row.worker,
        precision=None if row.precision is None else Precision(row.precision),
        attempt=row.attempt,
        error=None if error is None else Problem.model_validate(error),
        given_up=None if row.given_up is None else GivenUp.model_validate(row.given_up),
        rungs=None if row.rungs is None else [RungRead.model_validate(each) for each in row.rungs],
        start=None if row.start is None else StartedFrom.model_validate(row.start),
        verified=Verified.model_validate(verified) if verified else None,
        hypervolume=row.hypervolume,
        finished_at=row.finished_at,
    )


def _waiting_for(row: SearchRow, present: Presence) -> str | None:
    """What a search that goes on lacks, in words; None when nothing."""
    if row.state not in GOING_ON:
        return None
    precision = None if row.precision is None else Precision(row.precision)
    lacking = present.lacking(precision, queue=EvaluateSubnets.queue)
    if lacking is None and row.precision is None and row.recorded:
        # It waits for a worker that says its precision.
        return present.lacking(Precision.FLOAT32, queue=EvaluateSubnets.queue)
    return lacking


def _search(
    row: SearchRow,
    supernet: ReportedSupernet,
    best: EvaluationRead | None,
    waiting_for: str | None,
    queue_position: int | None,
) -> SearchRead:
    request = SearchCreate.model_validate(row.request)
    assert request.objectives is not None
    return SearchRead(
        id=row.id,
        name=row.name,
        notes=row.notes,
        tags=row.tags,
        state=SearchState(row.state),
        supernet_id=row.supernet_id,
        dataset_id=row.dataset_id,
        max_length=row.max_length,
        seed=request.seed,
        objectives=request.objectives,
        task_settings=request.task_settings or {},
        constraints=request.constraints,
        strategy=request.strategy,
        budget=request.budget,
        parallel_evaluations=request.parallel_evaluations,
        weight=request.weight,
        precision=None if row.precision is None else Precision(row.precision),
        verify=request.verify,
        verify_dataset_id=request.verify_dataset_id,
        evaluation=request.evaluation,
        racing=request.racing,
        plateau=request.plateau,
        max_failures=request.max_failures,
        progress=progress(row, request.budget),
        hypervolume=row.hypervolume,
        reference_point=row.reference_point,
        maximal_cost=supernet.cost(supernet.space.maximal, row.max_length).values(),
        front_size=row.front_size,
        best=best,
        stop_reason=None if row.stop_reason is None else StopReason(row.stop_reason),
        waiting_for=waiting_for,
        queue_position=queue_position,
        error=events.shown_error(row),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def progress(row: SearchRow, budget: Budget) -> Progress:
    """How far a search is; the estimate is of whichever budget ends it first."""
    finished = row.completed + row.given_up + row.failed
    fraction = finished / budget.evaluations
    rate = finished / row.elapsed_seconds if finished and row.elapsed_seconds > 0 else None
    eta = None
    if row.state == SearchState.RUNNING and rate is not None:
        eta = (budget.evaluations - finished) / rate
    if budget.seconds is not None:
        fraction = max(fraction, min(1.0, row.elapsed_seconds / budget.seconds))
        if eta is not None:
            eta = min(eta, max(0.0, budget.seconds - row.elapsed_seconds))
    low, high = (None, None) if eta is None else _eta_range(row, budget, finished)
    return Progress(
        completed=row.completed,
        given_up=row.given_up,
        failed=row.failed,
        running=row.running,
        cached=row.cached,
        budget_evaluations=budget.evaluations,
        fraction=1.0 if row.state == SearchState.COMPLETED else fraction,
        elapsed_seconds=row.elapsed_seconds,
        evaluations_per_second=rate,
        eta_seconds=eta,
        eta_low_seconds=low,
        eta_high_seconds=high,
    )


def _eta_range(row: SearchRow, budget: Budget, finished: int) -> tuple[float, float]:
    """Between which ends the rest of the time is in 9 of 10 cases.

    Had results come at random at a steady rate, the time of the rest, as a share of what it would
    be at the rate seen, were distributed as F with twice as many degrees of freedom as results are
    left, and were recorded (the predictive distribution of a Poisson process). They come more
    regularly than that, so that the range is rather too wide.
    """
    from scipy.special import fdtri  # which takes a while: a server that starts need not wait

    left = budget.evaluations - finished
    room = math.inf if budget.seconds is None else max(0.0, budget.seconds - row.elapsed_seconds)
    if left <= 0:
        return 0.0, 0.0
    pace = left * row.elapsed_seconds / finished
    low, high = (pace * float(fdtri(2 * left, 2 * finished, share)) for share in (0.05, 0.95))
    return min(low, room), min(high, room)
