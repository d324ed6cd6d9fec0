"""What happens to a search within one transaction: results in, front and proposals out."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from sqlalchemy.orm import Session

from elasticnas.api_schemas.halving import RungRead
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.racing import Hits
from elasticnas.api_schemas.search_events import FrontEvent
from elasticnas.api_schemas.searches import EvaluationState, SearchCreate, SearchState, StopReason
from elasticnas.search.loop import Proposal
from elasticnas.search.pareto import FrontChange
from elasticnas.search.space import SubnetConfig
from elasticnas.service.database import now
from elasticnas.service.http.problems import KINDS, problem
from elasticnas.service.searches import dispatch_repository as dispatches
from elasticnas.service.searches import evaluation_repository as evaluations
from elasticnas.service.searches import events, repository
from elasticnas.service.searches import front_repository as fronts
from elasticnas.service.searches.active import ActiveSearch, InFlight, Outcome, Trained
from elasticnas.service.searches.tables import EvaluationRow, FrontPointRow, SearchRow
from elasticnas.tasks import METRICS

FAILURES_WITHOUT_SUCCESS = 5
"""A search whose first evaluations all fail is stopped before it burns its whole budget."""


def begin(session: Session, row: SearchRow, active: ActiveSearch) -> None:
    """Start a queued search, or take up a running one again."""
    if row.state == SearchState.QUEUED:
        row.started_at = row.started_at or now()
        row.error = None
        repository.enter(session, row, SearchState.RUNNING)
        active.state = SearchState.RUNNING
    in_flight = list(active.in_flight)
    unsent = [n for n, each in active.in_flight.items() if each.batch is None and not each.waits]
    if row.state == SearchState.RUNNING and unsent:
        resend(session, row, active, unsent)
    _answer_known(session, row, active, {n: active.in_flight[n].subnet for n in in_flight})
    if active.out_of_time:
        active.loop.stop(StopReason.SECONDS)
    else:
        _place(session, row, active, active.loop.start())
    settle(session, row, active)


def resend(
    session: Session, row: SearchRow, active: ActiveSearch, numbers: Collection[int]
) -> None:
    """Have these evaluations sent once more, unless their results have come meanwhile."""
    dispatches.mark_resent(session, row.id, numbers, now())
    for number in numbers:
        active.in_flight[number].attempt += 1
        active.in_flight[number].batch = None
    dispatches.count_running(session, row.id)


def pause(session: Session, row: SearchRow, active: ActiveSearch, reason: Problem) -> None:
    """Pause a search for a reason that is not its own, until somebody resumes it."""
    if row.state != SearchState.RUNNING:
        return
    row.elapsed_seconds = active.elapsed_seconds
    row.error = reason.model_dump(mode="json")
    row.revision += 1
    repository.enter(session, row, SearchState.PAUSED)


def record(
    session: Session, row: SearchRow, active: ActiveSearch, outcomes: Iterable[Outcome]
) -> None:
    """Record results, and place the evaluations they lead to. The first result of each wins."""
    for outcome in outcomes:
        if outcome.number in active.in_flight:
            _record_one(session, row, active, outcome)
        if SearchState(row.state).is_final:
            return
    dispatches.count_running(session, row.id)


def settle(session: Session, row: SearchRow, active: ActiveSearch) -> None:
    """End a search that has nothing left to do; and keep its clock."""
    row.elapsed_seconds = active.elapsed_seconds
    _move(session, row, active)
    if row.state != SearchState.RUNNING:
        return
    reason = active.loop.stop_reason
    if reason is not None and not active.in_flight:
        active.verify_next(_to_verify(session, row, active))
        if active.to_verify:
            return
        if row.completed or not row.failed:
            repository.end(session, row, SearchState.COMPLETED, reason)
        else:
            _fail(session, row)
    elif not row.completed and row.failed >= FAILURES_WITHOUT_SUCCESS:
        _fail(session, row)
    elif exceeds_failures(row, active.request):
        limit = active.request.max_failures
        error = problem("failure-limit", f"{row.failed} evaluations failed, {limit} may")
        repository.end(session, row, SearchState.FAILED, StopReason.FAILURES, error)


def _to_verify(
    session: Session, row: SearchRow, active: ActiveSearch
) -> dict[int, tuple[SubnetConfig, int]]:
    """The front members that must be measured once more before the search is over, each with the
    number of this attempt. The ones that a worker declined are to be sent again."""
    if row.verify_share == 0 and row.verify_dataset_id is None:
        return {}
    members = fronts.unverified(session, row.id)
    if declined := [each.number for each in members if each.report is not None]:
        dispatches.forget_reports(session, row.id, declined)
        active.unsend_verifications(declined)
    decode = active.supernet.space.decode
    return {each.number: (decode(each.choices), each.verify_attempt) for each in members}


def exceeds_failures(row: SearchRow, request: SearchCreate) -> bool:
    """True when so many evaluations have failed that the search may not go on."""
    limit = request.max_failures
    few = not row.completed and row.failed >= FAILURES_WITHOUT_SUCCESS
    return few or (limit is not None and row.failed > limit)


def _move(session: Session, row: SearchRow, active: ActiveSearch) -> None:
    """Have those that were promoted in their brackets trained on, and end those that were not."""
    moves = active.loop.take_moves()
    for number in moves.promoted:
        evaluation = evaluations.placed(session, row.id, number)
        flown = active.in_flight[number]
        flown.rung = evaluation.rung = evaluation.rung + 1
        flown.attempt = evaluation.attempt = evaluation.attempt + 1
        flown.waits = False
        evaluation.report = None
        evaluation.sent_at = now()
    for number in moves.stopped:
        evaluation = evaluations.placed(session, row.id, number)
        del active.in_flight[number]
        evaluation.state = EvaluationState.GIVEN_UP
        evaluation.training_state = None
        row.given_up += 1
        _end(row, evaluation, active.loop.archive.hypervolume)


def _end(row: SearchRow, evaluation: EvaluationRow, hypervolume: float) -> None:
    """An evaluation is over: the search has one result more."""
    row.recorded += 1
    evaluation.sequence = row.recorded
    evaluation.hypervolume = hypervolume
    evaluation.finished_at = now()
    evaluation.report = None


def _reach(
    session: Session,
    row: SearchRow,
    active: ActiveSearch,
    outcome: Outcome,
    rung: RungRead,
) -> None:
    """Keep what a subnet measured on its way, and the state that its training goes on from."""
    flown = active.in_flight[outcome.number]
    flown.waits, flown.batch, flown.state = True, None, outcome.training_state
    evaluation = evaluations.placed(session, row.id, outcome.number)
    evaluation.state = EvaluationState.QUEUED
    evaluation.sent_generation = None
    evaluation.report = None
    evaluation.rungs = [*(evaluation.rungs or ()), rung.model_dump()]
    evaluation.training_state = outcome.training_state
    _note_work(evaluation, outcome)
    step = active.loop.reach(outcome.number, rung.metrics)
    _place(session, row, active, step.proposals)
    settle(session, row, active)


def _note_work(evaluation: EvaluationRow, outcome: Outcome) -> None:
    """Who measured, in what, since when and for how long, over all rungs."""
    evaluation.worker = outcome.worker
    evaluation.precision = outcome.precision
    if evaluation.rungs and evaluation.duration_seconds is not None:
        before = evaluation.duration_seconds
    else:
        before, evaluation.started_at = 0.0, outcome.started_at
    if outcome.duration_seconds is not None:
        evaluation.duration_seconds = before + outcome.duration_seconds


def _record_one(session: Session, row: SearchRow, active: ActiveSearch, outcome: Outcome) -> None:
    metrics, error = _checked(outcome, active)
    steps = active.stops_at(outcome.number)
    if metrics is not None and steps is not None:
        _reach(session, row, active, outcome, RungRead(steps=steps, metrics=metrics))
        return
    step = active.loop.record(outcome.number, metrics, hits=outcome.hits, given_up=outcome.given_up)
    if row.pilots is None and active.loop.pilots is not None:
        row.pilots = list(active.loop.pilots)
    flown = active.in_flight.pop(outcome.number)
    if outcome.weights is not None:
        active.trained[outcome.number] = Trained(flown.subnet, outcome.weights)
    evaluation = evaluations.placed(session, row.id, outcome.number)
    evaluation.cached = outcome.cached
    _note_work(evaluation, outcome)
    if step.given_up is not None:
        evaluation.state = EvaluationState.GIVEN_UP
        evaluation.given_up = step.given_up.model_dump()
        row.given_up += 1
    elif metrics is not None:
        evaluation.state = EvaluationState.COMPLETED
        evaluation.metrics = metrics
        evaluation.hits = None if outcome.hits is None else outcome.hits.model_dump()
        evaluation.weights = outcome.weights
        evaluation.training_state = None
        row.completed += 1
        _keep_best(row, active, outcome.number, metrics)
    else:
        evaluation.state = EvaluationState.FAILED
        evaluation.error = None if error is None else error.model_dump(mode="json")
        row.failed += 1
    row.cached += outcome.cached
    if error is None and outcome.duration_seconds is not None:
        active.measured += 1
        active.measured_seconds += outcome.duration_seconds
    _end(row, evaluation, step.hypervolume)
    _move_front(session, row, active, evaluation, step.front)
    _place(session, row, active, step.proposals)
    settle(session, row, active)


def _checked(
    outcome: Outcome, active: ActiveSearch
) -> tuple[dict[str, float] | None, Problem | None]:
    """The metrics if they can be searched on, else why not; neither where it was given up."""
    if outcome.given_up is not None:
        return None, None
    if outcome.metrics is None:
        unexplained = problem("evaluation-failed", "the worker gave no reason")
        return None, outcome.problem or unexplained
    for metric in active.objectives.metrics:
        value = outcome.metrics.get(metric)
        if value is None or not math.isfinite(value):
            detail = f"the worker measured {metric} = {value}, which is not a finite number"
            return None, problem("evaluation-failed", detail)
    return outcome.metrics, None


def _keep_best(
    row: SearchRow, active: ActiveSearch, number: int, metrics: Mapping[str, float]
) -> None:
    metric = METRICS[active.objectives.metrics[0]]
    value = metrics[metric.name]
    if row.best_metric is None or metric.is_better(value, than=row.best_metric):
        row.best_metric, row.best_number = value, number


def _move_front(
    session: Session,
    row: SearchRow,
    active: ActiveSearch,
    evaluation: EvaluationRow,
    change: FrontChange,
) -> None:
    if not change.entered:
        return
    assert evaluation.sequence is not None
    assert evaluation.finished_at is not None
    sequence, moment = evaluation.sequence, evaluation.finished_at
    fronts.enter(
        session,
        FrontPointRow(
            search_id=row.id,
            number=evaluation.number,
            entered_sequence=sequence,
            entered_at=moment,
        ),
    )
    if change.left:
        fronts.leave(session, row.id, change.left, sequence, moment)
    row.front_revision += 1
    row.front_size = len(active.loop.archive.numbers)
    row.hypervolume = active.loop.archive.hypervolume
    events.front_changed(
        session,
        row,
        FrontEvent(
            number=evaluation.number,
            subnet=dict(active.supernet.space.decode(evaluation.choices)),
            metrics=evaluation.metrics or {},
            cost=evaluation.cost,
            left=list(change.left),
            front_size=row.front_size,
            hypervolume=row.hypervolume,
        ),
    )


def _place(
    session: Session, row: SearchRow, active: ActiveSearch, proposals: Iterable[Proposal]
) -> None:
    """Give each proposal its row, and look whether it was measured before."""
    placed: dict[int, SubnetConfig] = {}
    for proposal in proposals:
        start = active.starting(proposal.start)
        evaluations.add(
            session,
            EvaluationRow(
                search_id=row.id,
                number=proposal.number,
                subnet_key=proposal.subnet.key,
                choices=list(active.supernet.space.encode(proposal.subnet)),
                cost=proposal.cost.values(),
                state=EvaluationState.QUEUED,
                origin=proposal.origin,
                rival=None if proposal.rival is None else proposal.rival.number,
                start=None if proposal.start is None else proposal.start.model_dump(),
                start_weights=None if start is None else start.tensors,
                bracket=proposal.bracket,
                sent_at=now(),
            ),
        )
        placed[proposal.number] = proposal.subnet
        active.in_flight[proposal.number] = InFlight(
            proposal.subnet, start=start, in_bracket=proposal.bracket is not None
        )
    _answer_known(session, row, active, placed)


def _answer_known(
    session: Session, row: SearchRow, active: ActiveSearch, placed: Mapping[int, SubnetConfig]
) -> None:
    """Queue the answers that the database already has, instead of a worker's.

    A search that races needs to know the rows behind them, too. One whose trainings begin with
    each other's weights takes those alone that began with the very same. Of a subnet in a bracket
    it would have to be known what it measures on every rung: it is trained.
    """
    needed = set(active.objectives.metrics)
    racing = active.request.racing is not None
    keys = {subnet.key for subnet in placed.values()}
    measured = evaluations.measured(session, row, keys, with_hits=racing)
    for number, subnet in placed.items():
        if active.in_flight[number].in_bracket:
            continue
        start = active.in_flight[number].start
        known = measured.get((subnet.key, None if start is None else start.tensors))
        if known is None or not needed <= known.metrics.keys():
            continue
        hits = None if known.hits is None else Hits.model_validate(known.hits)
        if not racing or hits is not None:
            active.answered.append(
                Outcome(
                    number,
                    known.metrics,
                    None,
                    None,
                    True,
                    now(),
                    None,
                    hits=hits,
                    precision=active.conditions.precision,
                    weights=known.weights,
                )
            )


def _fail(session: Session, row: SearchRow) -> None:
    """End a search none of whose evaluations succeeded, with the last one's problem."""
    last = Problem.model_validate(evaluations.last_error(session, row.id))
    kind = KINDS["every-evaluation-failed"]
    error = last.model_copy(
        update={
            "type": f"/problems/{kind.name}",
            "title": kind.title,
            "detail": f"all of the first {row.failed} evaluations failed; the last: {last.detail}",
        }
    )
    repository.end(session, row, SearchState.FAILED, StopReason.ERROR, error)
