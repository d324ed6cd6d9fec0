"""One search, from its first proposal to its last result: pure logic, no clock and no I/O."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from elasticnas.api_schemas.conditions import TrainingStart
from elasticnas.api_schemas.costs import CostModel, CostReport
from elasticnas.api_schemas.racing import GivenUp, Hits, Rival
from elasticnas.api_schemas.searches import SearchCreate, StopReason
from elasticnas.api_schemas.strategies import ParetoSettings
from elasticnas.api_schemas.training_starts import StartedFrom
from elasticnas.search.admission import Admission
from elasticnas.search.blas import one_blas_thread
from elasticnas.search.cost import cost_report
from elasticnas.search.objectives import Objectives
from elasticnas.search.pareto import FrontChange, Losses, ParetoArchive
from elasticnas.search.plateau import PlateauWatch
from elasticnas.search.priors import choice_weights
from elasticnas.search.problem import SearchProblem
from elasticnas.search.races.brackets import Brackets, Climber, Fate, Moves
from elasticnas.search.races.rivals import Races
from elasticnas.search.space import SearchSpace, SubnetConfig
from elasticnas.search.starts import Starts

Origin = Literal["maximal", "minimal", "heuristic", "given", "strategy"]

COSTS = 2048
"""How many costs are kept, of 2.7 kB each: twice the largest window. They are quick to compute."""
RESAMPLES = 16
"""How often a strategy is asked again when it proposes a subnet that the search has seen."""


@dataclass(frozen=True)
class Proposal:
    """A subnet to evaluate: feasible, and new to its search. ``number`` counts from 0.

    It is given up when it will hardly surpass its ``rival``. If it is trained first, that begins
    with the weights of ``start``, None: with the super-network's; in a ``bracket`` only the best
    are trained to the end.
    """

    number: int
    subnet: SubnetConfig
    cost: CostReport
    origin: Origin
    rival: Rival | None = None
    start: StartedFrom | None = None
    bracket: int | None = None


@dataclass(frozen=True)
class Recorded:
    """An evaluation that the search already has, as read back from the database.

    ``metrics`` is None when it failed or was ``given_up``; ``finished`` is False while it is in
    flight. ``hits`` are those of a search that races, ``rival`` is whom it was to surpass.

    In a ``bracket`` it is trained for ``rung``; ``rungs`` are the metrics at the end of each but
    the last. If it was ``stopped`` there, it has finished without metrics.
    """

    number: int
    subnet: SubnetConfig
    finished: bool
    metrics: dict[str, float] | None = None
    hits: Hits | None = None
    given_up: GivenUp | None = None
    rival: int | None = None
    bracket: int | None = None
    rung: int = 0
    rungs: Sequence[dict[str, float]] = ()
    stopped: bool = False


@dataclass(frozen=True)
class Step:
    """What recording one result led to; ``given_up`` is how its race ended, if it was lost."""

    front: FrontChange
    hypervolume: float
    proposals: tuple[Proposal, ...]
    given_up: GivenUp | None = None


def initial_subnets(
    request: SearchCreate, space: SearchSpace, admission: Admission
) -> Iterable[tuple[SubnetConfig, Origin]]:
    """The given subnets, then the maximal, minimal and heuristic ones that are feasible.

    Raises:
        InputError: a given subnet is not in the space, or breaks a constraint.
    """
    for index, choices in enumerate(request.initial_subnets):
        field = f"initial_subnets/{index}"
        subnet = space.subnet(choices, field=field)
        admission.require_feasible(subnet, field=field)
        yield subnet, "given"
    references: list[tuple[SubnetConfig, Origin]] = [
        (space.maximal, "maximal"),
        (space.minimal, "minimal"),
        (space.heuristic, "heuristic"),
    ]
    for subnet, origin in references:
        if admission.is_feasible(subnet):
            yield subnet, origin


def require_possible(
    request: SearchCreate, problem: SearchProblem, cost_of: Callable[[SubnetConfig], CostReport]
) -> None:
    """Refuse what a `SearchLoop` would refuse, without one: no strategy is made or asked.

    Raises:
        InputError: see `SearchLoop`.
    """
    for _ in initial_subnets(request, problem.space, Admission(problem, cost_of)):
        pass
    if isinstance(request.strategy, ParetoSettings):
        choice_weights(problem.space, request.strategy.priors)


class SearchLoop:
    """Drives a strategy over a space within a budget, and keeps the Pareto front.

    Results may be recorded in any order, but the strategy is told them in the order of their
    numbers, and is asked for one proposal after each: so what it proposes depends only on the
    request, not on how many workers there are, how fast each is, or whether the process died in
    between. At most ``request.parallel_evaluations`` evaluations that the strategy has not been
    told of are in flight.

    ``recorded`` are the evaluations so far, by rising number; with them a search goes on from its
    database rows exactly where it stopped. ``pilots`` are those of its races, if they are known.
    ``rows`` is the size of the validation set, from which a strategy knows how far to trust a
    metric.

    Raises:
        InputError: a constraint that no subnet satisfies, or a given subnet that is not in the
            space or breaks a constraint.
    """

    def __init__(
        self,
        request: SearchCreate,
        space: SearchSpace,
        cost_model: CostModel,
        *,
        max_length: int,
        objectives: Objectives,
        recorded: Sequence[Recorded] = (),
        rows: int | None = None,
        pilots: Sequence[int] | None = None,
    ) -> None:
        self._request = request
        self._space = space
        self._cost_of = lru_cache(maxsize=COSTS)(
            lambda subnet: cost_report(cost_model, subnet, max_length)
        )
        problem = SearchProblem(
            space, cost_model, max_length, objectives, request.constraints, rows
        )
        self._admission = Admission(problem, self._cost_of)
        self._objectives = objectives = problem.objectives
        # With scikit-learn and Optuna: seconds that a server which starts need not wait for.
        from elasticnas.search.strategies import make_strategy

        self._strategy = make_strategy(request.strategy, problem, seed=request.seed)
        self.archive = ParetoArchive(objectives.reference)
        cheapest = {cost.value: problem.feasible.cheapest(cost) for cost in objectives.costs}
        self._plateau = PlateauWatch(
            request.plateau, objectives.reference, objectives.reachable(cheapest)
        )
        self._races = None if request.racing is None else Races(request.racing, objectives, pilots)
        asked = request.fine_tune
        self._starts = (
            Starts(space, cost_model, asked.min_overlap)
            if asked is not None and asked.start is TrainingStart.NEAREST
            else None
        )
        self._initial = list(initial_subnets(request, space, self._admission))
        self._stopped_short: set[int] = set()
        self._moves: list[Moves] = []
        self._script = {row.number: row.subnet for row in recorded}
        self._subnets: dict[int, SubnetConfig] = {}
        self._finished: dict[int, Losses] = {}
        self._failed: set[int] = set()
        self._begun = 0
        self._told = 0
        self._stopped: StopReason | None = None
        self._pending: list[Proposal] = []
        for row in recorded:
            self._subnets[row.number] = row.subnet
            if self._races is not None and row.rival is not None:
                self._races.set(row.number, row.rival)
            if row.finished and not row.stopped:
                self._finish(row.number, row.metrics, row.hits, row.given_up)
        self._brackets = (
            None
            if request.halving is None
            else Brackets(
                request.halving, [self._climber(r) for r in recorded if r.bracket is not None]
            )
        )
        self._advance()

    # -- what a coordinator calls ------------------------------------------------------------

    def start(self) -> tuple[Proposal, ...]:
        """The first proposals of a search, or the ones that a restored search has yet to make."""
        return self._take_pending()

    def record(
        self,
        number: int,
        metrics: dict[str, float] | None,
        *,
        hits: Hits | None = None,
        given_up: GivenUp | None = None,
    ) -> Step:
        """Record the metrics of evaluation ``number``, or None when it failed for good.

        In a search that races they come with ``hits``; what was ``given_up`` has no metrics, and
        never enters the front. So it is with what the race would have given up, however much is
        known of it: see `Step`. Recording a number twice changes nothing: the first result wins.
        """
        if number in self._finished or number < self._told:
            return Step(FrontChange(entered=False), self.archive.hypervolume, (), given_up)
        if self._races is not None and hits is not None:
            given_up = self._races.judge(number, hits)
        change = self._finish(number, metrics, hits, given_up)
        if self._brackets is not None and self._brackets.climber(number) is not None:
            if metrics is None:
                self._brackets.fail(number)
            else:
                self._brackets.reach(number, self._losses(number, metrics))
        self._advance()
        return Step(change, self.archive.hypervolume, self._take_pending(), given_up)

    def reach(self, number: int, metrics: dict[str, float]) -> Step:
        """Record the metrics of a subnet at the end of a rung of its bracket that is not the last.

        What follows for whom, `take_moves` says.
        """
        assert self._brackets is not None
        self._brackets.reach(number, self._losses(number, metrics))
        self._advance()
        return Step(FrontChange(entered=False), self.archive.hypervolume, self._take_pending())

    def take_moves(self) -> Moves:
        """Who in a bracket is to be trained on, or no more, since this was asked last."""
        taken, self._moves = self._moves, []
        return Moves(
            tuple(number for each in taken for number in each.promoted),
            tuple(number for each in taken for number in each.stopped),
        )

    def stop(self, reason: StopReason) -> None:
        """Propose nothing more; what is in flight may still be recorded."""
        self._stopped = self._stopped or reason
        self._run_brackets()

    @property
    def stop_reason(self) -> StopReason | None:
        """Why no further subnet will be proposed; None while the search goes on."""
        if self._stopped is None and len(self._subnets) >= self._request.budget.evaluations:
            return StopReason.EVALUATIONS
        return self._stopped

    @property
    def in_flight(self) -> int:
        """Evaluations proposed and not yet recorded."""
        return len(self._subnets) - self._told - len(self._finished)

    @property
    def is_over(self) -> bool:
        """True when nothing is in flight and nothing more will be proposed."""
        return self.stop_reason is not None and self.in_flight == 0

    @property
    def pilots(self) -> tuple[int, ...] | None:
        """The evaluations that the course of races is laid by; None before there is one."""
        return None if self._races is None else self._races.pilots

    @property
    def course_hits(self) -> tuple[Hits, ...]:
        """The hits of the pilots."""
        return () if self._races is None else self._races.course_hits

    def rival(self, number: int) -> Rival | None:
        """Whom an evaluation in flight must surpass, if anybody."""
        return None if self._races is None else self._races.rival(number)

    # -- the loop itself ---------------------------------------------------------------------

    def _finish(
        self,
        number: int,
        metrics: dict[str, float] | None,
        hits: Hits | None,
        given_up: GivenUp | None,
    ) -> FrontChange:
        cost = self._cost_of(self._subnets[number]).values()
        if given_up is not None:
            (metric,) = self._objectives.metrics
            expected = {metric: given_up.estimate}
            self._finished[number] = self._objectives.losses(expected, cost)
            return FrontChange(entered=False)
        if metrics is None:
            self._failed.add(number)
            self._finished[number] = self._objectives.failure_losses(cost)
            return FrontChange(entered=False)
        losses = self._objectives.losses(metrics, cost)
        self._finished[number] = losses
        if self._races is not None and hits is not None:
            self._races.measured(number, hits)
        return self.archive.add(number, losses)

    def _advance(self) -> None:
        """Tell in order, ask after each: the one place where the strategy's view moves on."""
        with one_blas_thread():
            self._fill()
            self._run_brackets()
            while self._told in self._finished:
                losses = self._finished.pop(self._told)
                if self._races is not None:
                    self._races.tell(self._told, losses)
                failed = self._told in self._failed
                is_trained = not failed and self._told not in self._stopped_short
                if self._starts is not None and is_trained:
                    self._starts.tell(self._told, self._subnets[self._told])
                self._strategy.tell(self._told, losses, failed=failed)
                on_plateau = self._plateau.tell(self._told, losses)
                self._told += 1
                if on_plateau and self.stop_reason is None:
                    self.stop(StopReason.PLATEAU)
                self._fill()
                self._run_brackets()

    def _run_brackets(self) -> None:
        """Promote and stop whom it is time for; what was stopped is told as it is expected to be.

        A bracket closes before it is full where nothing more is proposed, or not before it is over:
        then the first that the strategy has not been told of is in it.
        """
        if self._brackets is None:
            return
        if self.stop_reason is not None or self._brackets.is_in_the_open(self._told):
            self._brackets.close()
        self._moves.append(self._brackets.move())
        for number, losses in self._brackets.settle().items():
            self._finished[number] = losses
            self._stopped_short.add(number)

    def _losses(self, number: int, metrics: dict[str, float]) -> Losses:
        return self._objectives.losses(metrics, self._cost_of(self._subnets[number]).values())

    def _climber(self, row: Recorded) -> Climber:
        """A recorded member of a bracket."""
        assert row.bracket is not None
        reached = [*row.rungs, *([] if row.metrics is None else [row.metrics])]
        if not row.finished:
            fate = Fate.CLIMBING
        elif row.stopped:
            fate = Fate.STOPPED
        else:
            fate = Fate.FAILED if row.metrics is None else Fate.ENDED
        losses = tuple(self._losses(row.number, each) for each in reached)
        return Climber(row.number, row.bracket, row.rung, losses, fate)

    def _fill(self) -> None:
        """Begin evaluations until the window is full: recorded ones first, then proposals."""
        while self._begun - self._told < self._request.parallel_evaluations:
            number = self._begun
            if (recorded := self._script.pop(number, None)) is not None:
                self._begin(number, recorded)
                continue
            if self.stop_reason is not None or (proposal := self._propose(number)) is None:
                return
            self._subnets[number] = proposal.subnet
            if self._races is not None and proposal.origin == "strategy":
                self._races.choose(number, proposal.cost)
            start = None if self._starts is None else self._starts.choose(proposal.subnet)
            joins = self._brackets is not None and proposal.origin == "strategy"
            bracket = self._brackets.join(number) if self._brackets and joins else None
            self._begin(number, proposal.subnet)
            rival = self.rival(number)
            self._pending.append(replace(proposal, rival=rival, start=start, bracket=bracket))

    def _begin(self, number: int, subnet: SubnetConfig) -> None:
        self._admission.mark_seen(subnet)
        self._strategy.begin(number, subnet)
        self._begun += 1

    def _propose(self, number: int) -> Proposal | None:
        """The next subnet to evaluate; None to wait, or (with a stop reason) at the end."""
        while self._initial:
            subnet, origin = self._initial.pop(0)
            if self._admission.is_unseen(subnet):
                return Proposal(number, subnet, self._cost_of(subnet), origin)
        rng = random.Random(f"{self._request.seed}/{number}")
        proposed = None
        for attempt in range(RESAMPLES):
            proposed = self._strategy.ask(number, attempt)
            if proposed is None:
                return None
            proposed = self._admission.repair(proposed, rng)
            if self._admission.is_unseen(proposed):
                return Proposal(number, proposed, self._cost_of(proposed), "strategy")
        assert proposed is not None
        unseen = self._admission.unseen_near(proposed, rng)
        if unseen is None:
            self.stop(StopReason.EXHAUSTED)
            return None
        return Proposal(number, unseen, self._cost_of(unseen), "strategy")

    def _take_pending(self) -> tuple[Proposal, ...]:
        taken, self._pending = tuple(self._pending), []
        return taken
