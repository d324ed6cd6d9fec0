from __future__ import annotations

import random
from collections import deque

import pytest

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import Budget, Constraint, SearchCreate, StopReason
from elasticnas.search.cost import cost_report
from elasticnas.search.loop import Proposal, Recorded, SearchLoop, require_possible
from elasticnas.search.objectives import Objectives
from elasticnas.search.pareto import ParetoArchive
from elasticnas.search.problem import SearchProblem
from elasticnas.search.space import SubnetConfig
from tests.search.spaces import accuracy, cost_model, space

STRATEGIES = [
    {"name": "random"},
    {"name": "nsga2", "population_size": 12},
    {"name": "nsga3", "population_size": 12},
    {"name": "tpe", "n_startup_trials": 10},
    {"name": "pareto"},
    {"name": "linas", "population_size": 12, "generations": 10},
    {"name": "hill-climbing"},
]


def request(**fields) -> SearchCreate:
    return SearchCreate.model_validate({"supernet_id": "s", "dataset_id": "d", **fields})


def loop(create: SearchCreate, recorded=(), layers=4, pilots=None) -> SearchLoop:
    model = cost_model(layers)
    maximal = cost_report(model, space(layers).maximal, 64)
    names = create.objectives or ["accuracy", Cost.GFLOPS]
    return SearchLoop(
        create,
        space(layers),
        model,
        max_length=64,
        objectives=Objectives(tuple(names), maximal),
        recorded=recorded,
        pilots=pilots,
    )


def run(search: SearchLoop, *, shuffle: int | None = None) -> list[Proposal]:
    """Evaluate everything that the search proposes, in order or in a shuffled one."""
    rng = random.Random(shuffle)
    waiting, done = deque(search.start()), []
    while waiting:
        index = rng.randrange(len(waiting)) if shuffle is not None else 0
        proposal = waiting[index]
        del waiting[index]
        done.append(proposal)
        waiting.extend(search.record(proposal.number, accuracy(proposal.subnet)).proposals)
    return sorted(done, key=lambda proposal: proposal.number)


def subnets(proposals: list[Proposal]) -> list[SubnetConfig]:
    return [proposal.subnet for proposal in proposals]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s["name"])
class TestEveryStrategy:
    def test_spends_its_budget_exactly_and_never_twice_on_one_subnet(self, strategy):
        search = loop(request(strategy=strategy, budget={"evaluations": 60}))
        found = run(search)
        assert [p.number for p in found] == list(range(60))
        assert len(set(subnets(found))) == 60
        assert search.stop_reason is StopReason.EVALUATIONS
        assert search.is_over

    def test_evaluates_maximal_minimal_and_heuristic_first(self, strategy):
        found = run(loop(request(strategy=strategy, budget={"evaluations": 5})))
        assert [p.origin for p in found[:3]] == ["maximal", "minimal", "heuristic"]

    def test_proposes_the_same_for_one_seed_and_other_subnets_for_another(self, strategy):
        create = request(strategy=strategy, budget={"evaluations": 40}, seed=7)
        first, again = run(loop(create)), run(loop(create))
        other = run(loop(create.model_copy(update={"seed": 8})))
        assert subnets(first) == subnets(again)
        assert subnets(first) != subnets(other)

    def test_does_not_depend_on_the_order_in_which_results_arrive(self, strategy):
        create = request(strategy=strategy, budget={"evaluations": 40})
        in_order = run(loop(create))
        for seed in range(3):
            assert subnets(run(loop(create), shuffle=seed)) == subnets(in_order)

    @pytest.mark.parametrize("died_after", [0, 13, 30])
    def test_goes_on_from_its_records_as_if_nothing_had_happened(self, strategy, died_after):
        create = request(strategy=strategy, budget={"evaluations": 40})
        undisturbed = run(loop(create), shuffle=3)

        search, rng = loop(create), random.Random(3)
        waiting = list(search.start())
        begun = {p.number: p for p in waiting}
        metrics = {}
        for _ in range(died_after):
            proposal = waiting.pop(rng.randrange(len(waiting)))
            metrics[proposal.number] = accuracy(proposal.subnet)
            step = search.record(proposal.number, metrics[proposal.number])
            waiting += step.proposals
            begun |= {p.number: p for p in step.proposals}
        rows = [Recorded(n, begun[n].subnet, n in metrics, metrics.get(n)) for n in sorted(begun)]
        restored = loop(create, rows)
        assert restored.start() == ()
        while waiting:
            proposal = waiting.pop(0)
            step = restored.record(proposal.number, accuracy(proposal.subnet))
            waiting += step.proposals
            begun |= {p.number: p for p in step.proposals}
        assert [begun[n].subnet for n in sorted(begun)] == subnets(undisturbed)

    @pytest.mark.parametrize("died_after", [1, 14, 31])
    def test_proposes_again_what_was_dropped_in_flight(self, strategy, died_after):
        """A cancelled search keeps what was measured, with gaps; extended, it fills them."""
        create = request(strategy=strategy, budget={"evaluations": 40})
        undisturbed = run(loop(create))
        search = loop(create.model_copy(update={"budget": Budget(evaluations=35)}))
        rng = random.Random(died_after)
        waiting, kept = list(search.start()), []
        for _ in range(died_after):
            proposal = waiting.pop(rng.randrange(len(waiting)))
            metrics = accuracy(proposal.subnet)
            kept.append(Recorded(proposal.number, proposal.subnet, True, metrics))
            waiting += search.record(proposal.number, metrics).proposals
        kept.sort(key=lambda row: row.number)
        extended = loop(create, kept)
        subnet_of = {row.number: row.subnet for row in kept}
        subnet_of |= {p.number: p.subnet for p in run(extended)}
        assert [subnet_of[n] for n in sorted(subnet_of)] == subnets(undisturbed)

    def test_never_proposes_what_breaks_a_constraint(self, strategy):
        bound = cost_report(cost_model(), space().heuristic, 64).gflops * 0.8
        create = request(
            strategy=strategy,
            budget={"evaluations": 50},
            constraints=[{"cost": "gflops", "max": bound}],
        )
        found = run(loop(create))
        assert len(found) == 50
        assert all(p.cost.gflops <= bound for p in found)
        assert "maximal" not in {p.origin for p in found}

    def test_ends_when_the_space_is_exhausted(self, strategy):
        search = loop(request(strategy=strategy, budget={"evaluations": 500}), layers=1)
        assert len(run(search)) == 12
        assert search.stop_reason is StopReason.EXHAUSTED
        assert search.is_over

    def test_goes_on_when_evaluations_fail(self, strategy):
        search = loop(request(strategy=strategy, budget={"evaluations": 40}))
        waiting, count = deque(search.start()), 0
        while waiting:
            proposal = waiting.popleft()
            count += 1
            failed = proposal.number % 3 == 1
            metrics = None if failed else accuracy(proposal.subnet)
            waiting.extend(search.record(proposal.number, metrics).proposals)
            assert not (failed and proposal.number in search.archive.numbers)
        assert count == 40


def test_nsga2_beats_random_at_equal_evaluations():
    def mean_hypervolume(strategy: dict[str, object]) -> float:
        total = 0.0
        for seed in range(5):
            search = loop(request(strategy=strategy, budget={"evaluations": 150}, seed=seed))
            run(search)
            total += search.archive.hypervolume
        return total / 5

    nsga2 = mean_hypervolume({"name": "nsga2", "population_size": 20})
    assert nsga2 > mean_hypervolume({"name": "random"})


def test_given_subnets_come_first_and_a_budget_of_their_number_evaluates_just_those():
    given = [{"layer.0.ffn.width": 384}, {}, {"layer.1.attention.heads": 6}]
    create = request(initial_subnets=given, budget={"evaluations": 3})
    found = run(loop(create))
    assert subnets(found) == [space().subnet(choices) for choices in given]
    assert {p.origin for p in found} == {"given"}


def test_a_given_subnet_that_breaks_a_constraint_is_refused():
    create = request(
        initial_subnets=[{}],
        constraints=[
            Constraint(
                cost=Cost.GFLOPS, max=cost_report(cost_model(), space().heuristic, 64).gflops
            )
        ],
    )
    with pytest.raises(InputError, match="initial_subnets/0"):
        loop(create)


def test_a_constraint_that_no_subnet_satisfies_is_refused():
    create = request(constraints=[Constraint(cost=Cost.PARAMS, max=10)])
    with pytest.raises(InputError, match="constraints/0/max"):
        loop(create)


def test_at_most_the_window_is_in_flight():
    search = loop(request(parallel_evaluations=3, budget={"evaluations": 20}))
    proposals = list(search.start())
    assert len(proposals) == search.in_flight == 3
    assert len(search.record(0, accuracy(proposals[0].subnet)).proposals) == 1
    assert search.record(2, accuracy(proposals[2].subnet)).proposals == ()


def test_a_second_result_for_one_number_changes_nothing():
    search = loop(request(budget={"evaluations": 20}))
    first = search.start()[0]
    search.record(first.number, {"accuracy": 0.6})
    before = search.archive.hypervolume
    step = search.record(first.number, {"accuracy": 0.9})
    assert not step.front.entered
    assert search.archive.hypervolume == before


def test_a_stopped_search_records_what_is_in_flight_and_proposes_nothing():
    search = loop(request(budget=Budget(evaluations=100)))
    proposals = search.start()
    search.stop(StopReason.SECONDS)
    for proposal in proposals:
        assert not search.is_over
        assert search.record(proposal.number, accuracy(proposal.subnet)).proposals == ()
    assert search.is_over
    assert search.stop_reason is StopReason.SECONDS


def test_three_objectives_at_once():
    create = request(objectives=["accuracy", "gflops", "params"], budget={"evaluations": 40})
    search = loop(create)
    run(search)
    assert search.archive.losses.shape == (len(search.archive.numbers), 3)
    assert 0 < search.archive.hypervolume < 1


PLATEAU = {"evaluations": 30, "min_gain": 0.004}


def hypervolumes(found: list[Proposal]) -> list[float]:
    """Of the first 0, 1, 2, ... results in the order of their numbers."""
    search = loop(request())
    archive, values = ParetoArchive(search.archive.reference), [0.0]
    for p in found:
        losses = search._objectives.losses(accuracy(p.subnet), p.cost.values())
        archive.add(p.number, losses)
        values.append(archive.hypervolume)
    return values


def test_a_plateau_ends_the_search_as_soon_as_the_hypervolume_has_stopped_to_rise():
    create = request(budget={"evaluations": 400}, parallel_evaluations=4, plateau=PLATEAU)
    search = loop(create)
    found = run(search)
    assert search.stop_reason is StopReason.PLATEAU
    values, span = hypervolumes(found), PLATEAU["evaluations"]
    flat = [n for n in range(span, len(values)) if values[n] - values[n - span] < 0.004]
    assert span < flat[0] < 397
    # What was in flight when the rule was met is recorded, and nothing more is begun.
    assert len(found) == flat[0] + 3


def test_a_plateau_is_the_same_in_whatever_order_results_arrive():
    create = request(budget={"evaluations": 400}, plateau=PLATEAU)
    in_order = subnets(run(loop(create)))
    for seed in range(2):
        shuffled = loop(create)
        assert subnets(run(shuffled, shuffle=seed)) == in_order
        assert shuffled.stop_reason is StopReason.PLATEAU


@pytest.mark.parametrize(
    "kept", [45, *(pytest.param(kept, marks=pytest.mark.slow) for kept in (1, 20, -1))]
)
def test_a_restarted_search_meets_its_plateau_at_the_same_number(kept):
    create = request(budget={"evaluations": 400}, plateau=PLATEAU)
    undisturbed = run(loop(create))
    rows = [Recorded(p.number, p.subnet, True, accuracy(p.subnet)) for p in undisturbed[:kept]]
    restored = loop(create, rows)
    assert subnets(undisturbed[:kept] + run(restored)) == subnets(undisturbed)
    assert restored.stop_reason is StopReason.PLATEAU


def test_failed_evaluations_count_towards_a_plateau():
    plateau = {"evaluations": 5, "min_gain": 0.001}
    search = loop(request(parallel_evaluations=1, budget={"evaluations": 50}, plateau=plateau))
    waiting, count = deque(search.start()), 0
    while waiting:
        count += 1
        waiting.extend(search.record(waiting.popleft().number, None).proposals)
    assert count == 5
    assert search.stop_reason is StopReason.PLATEAU


def test_a_budget_that_is_spent_comes_before_a_plateau():
    create = request(budget={"evaluations": 6}, plateau={"evaluations": 1, "min_gain": 1.0})
    search = loop(create)
    assert len(run(search)) == 6
    assert search.stop_reason is StopReason.EVALUATIONS


def test_under_a_tight_bound_a_plateau_is_not_met_at_once():
    minimal = cost_report(cost_model(), space().minimal, 64).gflops
    limit = Constraint(cost=Cost.GFLOPS, max=1.3 * minimal)
    rule = {"evaluations": 10, "min_gain": 0.01}
    create = request(budget={"evaluations": 200}, plateau=rule, constraints=[limit])
    tight = loop(create)
    assert tight.archive.hypervolume == 0
    found = run(tight)
    assert tight.stop_reason is StopReason.PLATEAU
    # The front covers far less of the box than without a bound, and goes on rising all the same.
    assert tight.archive.hypervolume < 0.3
    assert len(found) > 10 + create.parallel_evaluations


def test_what_is_impossible_is_refused_without_a_strategy(monkeypatch):
    monkeypatch.setattr("elasticnas.search.strategies.make_strategy", None)

    def cost_of(subnet: SubnetConfig):
        return cost_report(cost_model(), subnet, 64)

    def problem(*constraints: Constraint) -> SearchProblem:
        names = ("accuracy", Cost.GFLOPS)
        objectives = Objectives(names, cost_of(space().maximal))
        return SearchProblem(space(), cost_model(), 64, objectives, constraints)

    limit = Constraint(cost=Cost.PARAMS, max=10)
    with pytest.raises(InputError, match="constraints/0/max"):
        require_possible(request(constraints=[limit]), problem(limit), cost_of)
    with pytest.raises(InputError, match="initial_subnets/1/x"):
        require_possible(request(initial_subnets=[{}, {"x": 1}]), problem(), cost_of)
    strategy = {"name": "pareto", "priors": {"x": [1]}}
    with pytest.raises(InputError, match="strategy/priors/x"):
        require_possible(request(strategy=strategy), problem(), cost_of)
    require_possible(request(initial_subnets=[{}]), problem(), cost_of)
