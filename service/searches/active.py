"""A search that is being driven: its loop, and what of it is in flight."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.orm import Session

from elasticnas.api_schemas.conditions import Conditions
from elasticnas.api_schemas.messages import (
    EvaluateSubnets,
    Rung,
    StartingWeights,
    SubnetOutcome,
    SubnetToEvaluate,
    VerifySubnets,
)
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.racing import GivenUp, Hits
from elasticnas.api_schemas.searches import EvaluationState, SearchCreate, SearchState
from elasticnas.api_schemas.training_starts import StartedFrom
from elasticnas.search.loop import Recorded, SearchLoop
from elasticnas.search.objectives import Objectives
from elasticnas.search.problem import SearchProblem
from elasticnas.search.space import SubnetConfig
from elasticnas.service.database import clock
from elasticnas.service.datasets import repository as datasets
from elasticnas.service.searches import evaluation_repository as evaluations
from elasticnas.service.searches.conditions import conditions_of, verifying_conditions_of
from elasticnas.service.searches.tables import EvaluationRow, SearchRow
from elasticnas.service.supernets.report_cache import ReportedSupernet

MESSAGE_SECONDS = 2.0
"""How long a worker should take over one message: long enough for the queue's cost not to show,
short enough for a cancelled search or a lost worker to cost little."""
VERIFIED_AT_ONCE = 16
"""Front members in one message; each message measures the maximal subnet beside them."""
VERIFY_AGAIN_SECONDS = 5.0
"""How long a verification that failed waits for its second attempt; for its third twice as long."""


@dataclass(frozen=True)
class Outcome:
    """What became of one evaluation: metrics, the end of a race, or the problem it failed with."""

    number: int
    metrics: dict[str, float] | None
    problem: Problem | None
    worker: str | None
    cached: bool
    started_at: datetime
    duration_seconds: float | None
    hits: Hits | None = None
    given_up: GivenUp | None = None
    precision: Precision | None = None
    weights: str | None = None
    training_state: str | None = None

    @classmethod
    def of(cls, outcome: SubnetOutcome, worker: str | None) -> Outcome:
        """What a worker reported."""
        return cls(
            number=outcome.number,
            metrics=outcome.metrics,
            problem=outcome.problem,
            worker=worker,
            cached=False,
            started_at=outcome.started_at,
            duration_seconds=outcome.duration_seconds,
            hits=outcome.hits,
            given_up=outcome.given_up,
            precision=outcome.precision,
            weights=outcome.weights,
            training_state=outcome.state,
        )


@dataclass(frozen=True)
class Batch:
    """A message that was sent, when (monotonic seconds), and in which generation of the queue."""

    generation: str
    sent: float


@dataclass
class InFlight:
    """An evaluation that has a row and no result. ``batch`` is None until a message carries it.

    If it is trained first, that begins with the weights of ``start``, or the super-network's. In a
    bracket it is trained for its ``rung``, from the ``state`` that it was left in (a digest), and
    then ``waits`` for the others.
    """

    subnet: SubnetConfig
    attempt: int = 1
    batch: Batch | None = None
    start: StartingWeights | None = None
    in_bracket: bool = False
    rung: int = 0
    state: str | None = None
    waits: bool = False


@dataclass(frozen=True)
class Trained:
    """A subnet that was trained, and the digest of its weights."""

    subnet: SubnetConfig
    weights: str

    def beginning(self, start: StartedFrom) -> StartingWeights:
        """They as another training begins with them."""
        return StartingWeights(subnet=dict(self.subnet), tensors=self.weights, layers=start.layers)


@dataclass
class ToVerify:
    """A front member that is yet to be measured on what the search never saw.

    ``trained`` is the digest of its trained weights, where they are kept. After a failure it is not
    sent before the moment ``due`` (monotonic seconds). ``adopted`` says that the coordinator before
    this one may have sent it.
    """

    subnet: SubnetConfig
    attempt: int
    trained: str | None = None
    due: float = 0.0
    batch: Batch | None = None
    adopted: bool = False


@dataclass
class ActiveSearch:
    """The in-memory half of an unfinished search; all of it can be rebuilt from the rows.

    After a transaction has failed it may be ahead of the rows: it is then thrown away.
    """

    id: str
    revision: int
    state: SearchState
    request: SearchCreate
    supernet: ReportedSupernet
    objectives: Objectives
    loop: SearchLoop
    conditions: Conditions
    verifying: Conditions
    """Under which its front is verified."""
    elapsed_before: float
    measured: int = 0
    measured_seconds: float = 0.0
    in_flight: dict[int, InFlight] = field(default_factory=dict)
    answered: deque[Outcome] = field(default_factory=deque)
    """Results found in the database, to be recorded like any other."""
    to_verify: dict[int, ToVerify] = field(default_factory=dict)
    trained: dict[int, Trained] = field(default_factory=dict)
    """What others may begin their trainings with, where that is kept."""
    resumed: float = field(default_factory=time.monotonic)

    @property
    def elapsed_seconds(self) -> float:
        """How long the search has been running, over all processes that drove it."""
        if self.state == SearchState.PAUSED:
            return self.elapsed_before
        return self.elapsed_before + time.monotonic() - self.resumed

    @property
    def has_answers(self) -> bool:
        """True when there are results to record that need no worker."""
        return self.state == SearchState.RUNNING and bool(self.answered)

    @property
    def out_of_time(self) -> bool:
        """True when the budget's seconds are spent."""
        seconds = self.request.budget.seconds
        return seconds is not None and self.elapsed_seconds >= seconds

    def lost(self, generation: str) -> list[int]:
        """The evaluations whose messages were sent in another generation of the queue."""
        sent = {n: e.batch for n, e in self.in_flight.items() if e.batch is not None}
        return [number for number, batch in sent.items() if batch.generation != generation]

    def overdue(self, lease_seconds: float) -> list[int]:
        """The evaluations that were sent longer ago than this."""
        before = time.monotonic() - lease_seconds
        return [n for n, e in self.in_flight.items() if e.batch and e.batch.sent < before]

    def unsent(self) -> list[int]:
        """The evaluations that no message carries yet, and the database does not answer."""
        answered = {outcome.number for outcome in self.answered}
        return sorted(
            number
            for number, each in self.in_flight.items()
            if each.batch is None and not each.waits and number not in answered
        )

    @property
    def outstanding(self) -> int:
        """How many messages were sent of which some result is missing."""
        return len({e.batch for e in self.in_flight.values() if e.batch is not None})

    @property
    def mean_seconds(self) -> float:
        """How long one evaluation takes a worker, as far as is known."""
        return self.measured_seconds / self.measured if self.measured else MESSAGE_SECONDS

    def message(self, workers: int) -> EvaluateSubnets:
        """The next batch of what is unsent; it takes a worker about `MESSAGE_SECONDS`.

        A batch is at most a share of the search's window that gives each worker two: while the
        result of one travels back, the worker goes on with the other.
        """
        share = self.request.parallel_evaluations // (2 * max(1, workers))
        size = max(1, min(share, round(MESSAGE_SECONDS / max(self.mean_seconds, 1e-3))))
        numbers = self.unsent()[:size]
        rivals = {number: self.loop.rival(number) for number in numbers}
        return EvaluateSubnets(
            search_id=self.id,
            revision=self.revision,
            conditions=self.conditions,
            racing=self.request.racing,
            pilots=self.loop.course_hits,
            rivals={rival.number: rival.hits for rival in rivals.values() if rival},
            subnets=tuple(
                SubnetToEvaluate(
                    number=number,
                    subnet=dict(self.in_flight[number].subnet),
                    attempt=self.in_flight[number].attempt,
                    rival=None if rival is None else rival.number,
                    start=self.in_flight[number].start,
                    rung=self._rung(number),
                )
                for number, rival in rivals.items()
            ),
        )

    def stops_at(self, number: int) -> int | None:
        """After how many steps a training stops on its way; None: it goes on to the end."""
        flown, asked = self.in_flight[number], self.request.fine_tune
        if not flown.in_bracket or asked is None or asked.halving is None or asked.steps is None:
            return None
        last = flown.rung == asked.halving.last
        return None if last else asked.halving.steps(flown.rung, asked.steps)

    def _rung(self, number: int) -> Rung | None:
        flown = self.in_flight[number]
        if not flown.in_bracket:
            return None
        return Rung(number=flown.rung, until=self.stops_at(number), state=flown.state)

    def starting(self, start: StartedFrom | None) -> StartingWeights | None:
        """The weights that a training begins with; None: the super-network's."""
        return None if start is None else self.trained[start.number].beginning(start)

    def verify_next(self, members: Mapping[int, tuple[SubnetConfig, int]]) -> None:
        """These front members, with their attempts, by number, are yet to be verified.

        One whose attempt is another than before has failed meanwhile: it has to wait a little.
        """
        before, self.to_verify = self.to_verify, {}
        for number, (subnet, attempt) in members.items():
            earlier = before.get(number)
            if earlier is None or earlier.attempt != attempt:
                wait = 0.0 if earlier is None else VERIFY_AGAIN_SECONDS * earlier.attempt
                kept = self.trained.get(number)
                earlier = ToVerify(
                    subnet,
                    attempt,
                    None if kept is None else kept.weights,
                    due=time.monotonic() + wait,
                    adopted=earlier is None,
                )
            self.to_verify[number] = earlier

    def unsend_verifications(self, numbers: Collection[int]) -> None:
        """No message carries these any more: a worker has declined them."""
        for number in numbers:
            if number in self.to_verify:
                self.to_verify[number].batch = None
                self.to_verify[number].adopted = False

    def unverified(self, generation: str, lease_seconds: float, held: Collection[str]) -> list[int]:
        """What must be sent to be verified: it was not, or its message is lost.

        ``held`` names what living workers are at, as ``search id/number/verification``.
        """
        now = time.monotonic()

        def is_missing(number: int, each: ToVerify) -> bool:
            is_held = f"{self.id}/{number}/verification" in held
            if each.batch is None:
                return not (each.adopted and is_held)
            late = now - each.batch.sent > lease_seconds and not is_held
            return each.batch.generation != generation or late

        return sorted(
            number
            for number, each in self.to_verify.items()
            if each.due <= now and is_missing(number, each)
        )

    def verifications(self, numbers: Sequence[int]) -> Iterable[VerifySubnets]:
        """The messages that have these front members measured once more."""
        for start in range(0, len(numbers), VERIFIED_AT_ONCE):
            yield VerifySubnets(
                search_id=self.id,
                revision=self.revision,
                conditions=self.verifying,
                subnets=tuple(
                    SubnetToEvaluate(
                        number=number,
                        subnet=dict(self.to_verify[number].subnet),
                        attempt=self.to_verify[number].attempt,
                        trained=self.to_verify[number].trained,
                    )
                    for number in numbers[start : start + VERIFIED_AT_ONCE]
                ),
            )


def restore(
    session: Session, row: SearchRow, supernet: ReportedSupernet, before: ActiveSearch | None = None
) -> ActiveSearch:
    """Rebuild a search from its rows, as it was when the last of them was written.

    What was sent through a queue in memory counts as unsent, because that queue is gone; unless
    ``before`` still knows of it: the same search as this process drove it until now.
    """
    request = SearchCreate.model_validate(row.request)
    objectives = problem_of(request, supernet, row.max_length, row.reference_point).objectives
    rows = evaluations.of_search(session, row.id, with_hits=request.racing is not None)
    dataset = datasets.by_id(session, row.dataset_id)
    subnets = {each.number: supernet.space.decode(each.choices) for each in rows}
    loop = SearchLoop(
        request,
        supernet.space,
        supernet.report.cost_model,
        max_length=row.max_length,
        objectives=objectives,
        recorded=[
            Recorded(
                number=each.number,
                subnet=subnets[each.number],
                finished=each.finished_at is not None,
                metrics=each.metrics,
                hits=Hits.model_validate(each.hits) if request.racing and each.hits else None,
                given_up=GivenUp.model_validate(each.given_up) if each.given_up else None,
                rival=each.rival,
                bracket=each.bracket,
                rung=each.rung,
                rungs=[rung["metrics"] for rung in each.rungs or ()],
                stopped=each.bracket is not None and each.state == EvaluationState.GIVEN_UP,
            )
            for each in rows
        ],
        rows=request.searched_rows(dataset.rows),
        pilots=row.pilots,
    )
    mean = evaluations.mean_seconds(session, row.id)
    moment, here = clock(session), time.monotonic()

    def sent(at: datetime) -> float:
        """When that was, on this process's clock."""
        return here - max(0.0, (moment - at).total_seconds())

    active = ActiveSearch(
        id=row.id,
        revision=row.revision,
        state=SearchState(row.state),
        request=request,
        supernet=supernet,
        objectives=objectives,
        loop=loop,
        conditions=conditions_of(row),
        verifying=verifying_conditions_of(row),
        elapsed_before=row.elapsed_seconds if before is None else before.elapsed_seconds,
        measured=0 if mean is None else 1,
        measured_seconds=mean or 0.0,
        trained={
            each.number: Trained(subnets[each.number], each.weights)
            for each in rows
            if each.weights is not None
        },
    )
    for each in rows:
        if each.finished_at is None:
            start = None if each.start is None else StartedFrom.model_validate(each.start)
            waits = len(each.rungs or ()) > each.rung
            active.in_flight[each.number] = InFlight(
                subnets[each.number],
                each.attempt,
                None if waits else _batch(each, before, sent),
                active.starting(start),
                in_bracket=each.bracket is not None,
                rung=each.rung,
                state=each.training_state,
                waits=waits,
            )
    return active


def _batch(
    row: EvaluationRow, before: ActiveSearch | None, sent: Callable[[datetime], float]
) -> Batch | None:
    """The message that carries an evaluation, if one does: as old as its row says.

    However often the search is restored, a message that was lost is overdue a lease after it was
    sent.
    """
    earlier = None if before is None else before.in_flight.get(row.number)
    if earlier is not None and earlier.attempt == row.attempt:
        return earlier.batch
    return Batch(row.sent_generation, sent(row.sent_at)) if row.sent_generation else None


def problem_of(
    request: SearchCreate,
    supernet: ReportedSupernet,
    max_length: int,
    begun_with: Mapping[str, float] | None = None,
) -> SearchProblem:
    """What a request asks, whose defaults are filled in.

    A search keeps the reference point that it has ``begun_with``, also in a later version.
    """
    assert request.objectives is not None
    maximal = supernet.cost(supernet.space.maximal, max_length)
    objectives = Objectives(tuple(request.objectives), maximal, begun_with)
    model = supernet.report.cost_model
    return SearchProblem(supernet.space, model, max_length, objectives, request.constraints)
