from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from elasticnas.api_schemas.costs import Axis, Cost, CostModel, Table
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import Constraint
from elasticnas.api_schemas.spaces import BLOCKS, FFN, OPERATION, RANK, Condition, Dimension
from elasticnas.search import feasible as feasible_module
from elasticnas.search.admission import Admission
from elasticnas.search.cost import cost_report
from elasticnas.search.cost_table import CostTable
from elasticnas.search.cost_terms import Extent, linear, parameters
from elasticnas.search.cost_terms import cost_model as cost_model_of
from elasticnas.search.feasible import Feasible
from elasticnas.search.objectives import Objectives
from elasticnas.search.problem import SearchProblem
from elasticnas.search.space import SearchSpace, SubnetConfig
from tests.search.spaces import cost_model, space

LENGTH = 64


def cost_of(model: CostModel, subnet: SubnetConfig, cost: Cost) -> float:
    return float(getattr(cost_report(model, subnet, LENGTH), cost.value))


def share(cost: Cost, of_maximal: float, layers: int = 4) -> Constraint:
    searched = space(layers)
    whole = cost_of(cost_model(layers), searched.maximal, cost)
    return Constraint(cost=cost, max=of_maximal * whole)


def problem(
    *constraints: Constraint,
    layers: int = 4,
    names: tuple[str, ...] = ("accuracy", Cost.GFLOPS),
) -> SearchProblem:
    searched, model = space(layers), cost_model(layers)
    objectives = Objectives(names, cost_report(model, searched.maximal, LENGTH))
    return SearchProblem(searched, model, LENGTH, objectives, constraints)


def feasible(*constraints: Constraint, layers: int = 4) -> Feasible:
    searched = space(layers)
    return Feasible(searched, CostTable(searched, cost_model(layers), LENGTH), constraints)


def dearest(*constraints: Constraint, cost: Cost = Cost.GFLOPS) -> float:
    """Of the four-layer space, by looking at all of it."""
    table = CostTable(space(), cost_model(), LENGTH)
    axes = np.indices(space().cardinalities)
    everything = np.stack([axis.ravel() for axis in axes], axis=1)
    kept = np.ones(len(everything), dtype=bool)
    for each in constraints:
        kept &= table.of(everything, [each.cost])[:, 0] <= each.max
    return float(table.of(everything[kept], [cost]).max())


class TestReferences:
    def test_without_constraints_they_are_a_tenth_beyond_the_maximal_subnet(self):
        found = problem().objectives.reference_point
        maximal = cost_of(cost_model(), space().maximal, Cost.GFLOPS)
        assert found == {"accuracy": 0.0, "gflops": 1.1 * maximal}

    def test_a_bound_that_excludes_nothing_changes_nothing(self):
        objectives = problem(share(Cost.GFLOPS, 1.0)).objectives
        assert objectives.reference_point == problem().objectives.reference_point

    @pytest.mark.parametrize("bound", [0.4, 0.6, 0.9])
    def test_the_margin_is_a_tenth_of_the_feasible_span_whatever_the_bound(self, bound):
        limit = share(Cost.GFLOPS, bound)
        reference = problem(limit).objectives.reference_point["gflops"]
        minimal = cost_of(cost_model(), space().minimal, Cost.GFLOPS)
        top = dearest(limit)
        assert top <= limit.max
        assert reference - top == pytest.approx(0.1 * (top - minimal))

    def test_hardly_above_the_minimum_the_span_still_outweighs_the_margin(self):
        minimal = cost_of(cost_model(), space().minimal, Cost.GFLOPS)
        limit = Constraint(cost=Cost.GFLOPS, max=1.15 * minimal)
        reference = problem(limit).objectives.reference_point["gflops"]
        assert 0 < reference - dearest(limit) < 0.2 * (dearest(limit) - minimal)

    def test_at_the_minimum_the_one_subnet_still_counts(self):
        minimal = cost_report(cost_model(), space().minimal, LENGTH)
        objectives = problem(Constraint(cost=Cost.GFLOPS, max=minimal.gflops)).objectives
        losses = objectives.losses({"accuracy": 0.5}, minimal.values())
        assert np.all(losses < objectives.reference)

    def test_a_bound_on_another_cost_than_the_objective(self):
        limit = share(Cost.PARAMS, 0.6)
        reference = problem(limit).objectives.reference_point["gflops"]
        assert dearest(limit) < reference < problem().objectives.reference_point["gflops"]
        assert reference == pytest.approx(dearest(limit), rel=0.2)

    def test_of_several_bounds_all_count(self):
        both = share(Cost.GFLOPS, 0.8), share(Cost.PARAMS, 0.5)
        together = problem(*both).objectives.reference_point["gflops"]
        alone = [problem(each).objectives.reference_point["gflops"] for each in both]
        assert together == pytest.approx(min(alone))
        assert together > dearest(*both)

    def test_each_cost_has_its_own(self):
        limit = share(Cost.GFLOPS, 0.5)
        names = ("accuracy", Cost.GFLOPS, Cost.PARAMS)
        found = problem(limit, names=names).objectives.reference_point
        assert found["gflops"] > dearest(limit)
        assert found["params"] > dearest(limit, cost=Cost.PARAMS)

    def test_given_ones_are_kept(self):
        objectives = Objectives(
            ("accuracy", Cost.GFLOPS),
            cost_report(cost_model(), space().maximal, LENGTH),
            {"accuracy": 0.0, "gflops": 3.0},
        )
        searched = SearchProblem(
            space(), cost_model(), LENGTH, objectives, [share(Cost.GFLOPS, 0.5)]
        )
        assert searched.objectives.reference_point == {"accuracy": 0.0, "gflops": 3.0}

    def test_a_cost_that_no_subnet_has_any_of_divides_nothing_by_zero(self):
        names = ("accuracy", Cost.TRAINABLE_PARAMS)
        objectives = problem(names=names).objectives
        cost = cost_report(cost_model(), space().maximal, LENGTH)
        assert objectives.losses({"accuracy": 0.5}, cost.values()).tolist() == [0.5, 0.0]

    @pytest.mark.parametrize(
        "limits",
        [
            [(Cost.GFLOPS, 0.6)],
            [(Cost.PARAMS, 0.5)],
            [(Cost.GFLOPS, 0.45), (Cost.PARAMS, 0.45)],
        ],
    )
    def test_the_climb_of_large_spaces_finds_the_dearest(self, monkeypatch, limits):
        constraints = [share(cost, bound) for cost, bound in limits]
        exact = feasible(*constraints).dearest(Cost.GFLOPS)
        monkeypatch.setattr("elasticnas.search.space.ENUMERABLE", 0)
        climbed = feasible(*constraints)
        assert climbed.dearest(Cost.GFLOPS) == pytest.approx(exact, rel=0.005)
        assert climbed.dearest(Cost.GFLOPS) == feasible(*constraints).dearest(Cost.GFLOPS)

    def test_in_a_large_space_it_is_next_to_the_bound(self):
        limit = share(Cost.GFLOPS, 0.6, layers=12)
        assert 0.998 * limit.max < feasible(limit, layers=12).dearest(Cost.GFLOPS) <= limit.max


class TestDraws:
    """All feasible subnets are equally likely: a chi-square test over each of them."""

    LIMITS = (share(Cost.GFLOPS, 0.7, layers=2), share(Cost.PARAMS, 0.7, layers=2))

    def counts(self, draws: np.ndarray) -> list[int]:
        everything = [each for each in space(2).enumerate() if self.admits(each)]
        seen = Counter(tuple(row) for row in draws.tolist())
        found = [seen[space(2).encode(each)] for each in everything]
        assert sum(found) == len(draws)  # nothing that is not feasible
        assert 20 < len(found) < 144
        return found

    def admits(self, subnet) -> bool:
        cost = cost_report(cost_model(2), subnet, LENGTH).values()
        return all(cost[limit.cost.value] <= limit.max for limit in self.LIMITS)

    def test_in_a_space_that_is_walked_through(self):
        draws = feasible(*self.LIMITS, layers=2).draws(20_000, np.random.default_rng(0))
        assert chisquare(self.counts(draws)).pvalue > 0.01

    def test_among_uniform_ones(self, monkeypatch):
        monkeypatch.setattr("elasticnas.search.space.ENUMERABLE", 0)
        monkeypatch.setattr(feasible_module, "TRIES", 100_000)
        draws = feasible(*self.LIMITS, layers=2).draws(20_000, np.random.default_rng(1))
        assert chisquare(self.counts(draws)).pvalue > 0.01

    def test_by_gibbs_sampling(self, monkeypatch):
        monkeypatch.setattr("elasticnas.search.space.ENUMERABLE", 0)
        monkeypatch.setattr(feasible_module, "TRIES", 1)
        draws = feasible(*self.LIMITS, layers=2).draws(5_000, np.random.default_rng(2))
        assert chisquare(self.counts(draws)).pvalue > 0.01

    def test_a_repaired_uniform_draw_would_not_be(self):
        searched = problem(*self.LIMITS, layers=2)
        rng = np.random.default_rng(3)
        drawn = np.floor(rng.random((20_000, 4)) * searched.choices.counts).astype(np.intp)
        assert chisquare(self.counts(searched.repair(drawn, rng))).pvalue < 1e-6

    def test_under_a_bound_that_hardly_any_subnet_meets(self):
        minimal = cost_of(cost_model(12), space(12).minimal, Cost.GFLOPS)
        limit = Constraint(cost=Cost.GFLOPS, max=1.05 * minimal)
        few = feasible(limit, layers=12)
        draws = few.draws(64, np.random.default_rng(0))
        assert few.mask(draws).all()
        assert len(np.unique(draws, axis=0)) > 32


def branching() -> tuple[SearchSpace, CostModel]:
    """Two blocks with an operation each, which is wide only where it convolves.

    The costs of an operation do not fall with its index, and a block that is left out costs nothing
    while its dimensions go back to their first choices.
    """
    dimensions, terms = [], [parameters(10)]
    blocks = Dimension(name="blocks", part=BLOCKS, choices=((0, 1), (0,), (1,)), ordered=False)
    for block in range(2):
        kept = Condition(dimension="blocks", choices=tuple(c for c in blocks.choices if block in c))
        operation = Dimension(
            name=f"{block}.operation",
            part=OPERATION,
            layer=block,
            choices=("none", "attention", "convolution"),
            ordered=False,
            active_when=(kept,),
        )
        convolves = Condition(dimension=operation.name, choices=("convolution",))
        width = Dimension(
            name=f"{block}.width",
            part=FFN,
            layer=block,
            choices=(9, 6, 3, 1),
            active_when=(convolves,),
        )
        rank = Dimension(name=f"{block}.rank", part=RANK, layer=block, choices=(8, 4, 2))
        dimensions += [operation, width, rank]
        axis = Axis(dimension=operation.name, choices=operation.choices)
        steps = Extent(full=0, lengths=Table(axes=(axis,), values=(0, 30, 4)))
        terms += linear(steps, Extent(full=5), when=[kept])
        terms += linear(
            Extent(full=9, dimension=width.name), Extent(full=7), when=[kept, convolves]
        )
        terms += linear(Extent(full=1), Extent(full=1), rank=Extent(full=8, dimension=rank.name))
    return SearchSpace((*dimensions, blocks)), cost_model_of(terms)


class TestCostsThatDoNotFall:
    """Where a later choice may be dearer, ends and draws are looked for: against all subnets."""

    def searched(self, *bounds: tuple[Cost, float]) -> SearchProblem:
        searched, model = branching()
        constraints = [Constraint(cost=cost, max=bound) for cost, bound in bounds]
        names = ("accuracy", Cost.PARAMS)
        objectives = Objectives(names, cost_report(model, searched.maximal, LENGTH))
        return SearchProblem(searched, model, LENGTH, objectives, constraints)

    def all_feasible(self, bounds) -> dict[tuple[int, ...], dict[str, float]]:
        searched, model = branching()
        costs = {
            searched.encode(each): cost_report(model, each, LENGTH).values()
            for each in searched.enumerate()
        }
        return {
            encoded: cost
            for encoded, cost in costs.items()
            if all(cost[name.value] <= bound for name, bound in bounds)
        }

    BOUNDS = ((Cost.PARAMS, 150), (Cost.TRAINABLE_PARAMS, 24))

    def test_only_dimensions_that_shrink_are_shrunk(self):
        problem = self.searched()
        shrinks = dict(
            zip([d.name for d in problem.space.dimensions], problem.feasible.shrinks, strict=True)
        )
        assert shrinks["0.rank"]
        assert not shrinks["0.operation"]
        assert not shrinks["blocks"]

    @pytest.mark.parametrize("is_large", [False, True])
    def test_the_ends_are_those_of_all_feasible_subnets(self, monkeypatch, is_large):
        if is_large:
            monkeypatch.setattr("elasticnas.search.space.ENUMERABLE", 0)
        costs = [cost["params"] for cost in self.all_feasible(self.BOUNDS).values()]
        found = self.searched(*self.BOUNDS).feasible
        assert found.dearest(Cost.PARAMS) == max(costs)
        assert found.cheapest(Cost.PARAMS) == min(costs)

    @pytest.mark.parametrize("way", ["walked through", "uniform ones", "Gibbs sampling"])
    def test_each_distinct_feasible_subnet_is_drawn_as_often_as_any_other(self, monkeypatch, way):
        if way != "walked through":
            monkeypatch.setattr("elasticnas.search.space.ENUMERABLE", 0)
            tries = 400_000 if way == "uniform ones" else 64
            monkeypatch.setattr(feasible_module, "TRIES", tries)
        expected = self.all_feasible(self.BOUNDS)
        draws = self.searched(*self.BOUNDS).feasible.draws(4000, np.random.default_rng(5))
        seen = Counter(map(tuple, draws.tolist()))
        assert set(seen) <= set(expected)
        assert chisquare([seen[each] for each in expected]).pvalue > 0.01

    def test_a_repair_is_feasible_and_leaves_alone_what_was(self):
        problem = self.searched(*self.BOUNDS)
        counts, rng = problem.choices.counts, np.random.default_rng(6)
        drawn = np.floor(rng.random((500, len(counts))) * counts).astype(np.intp)
        repaired = problem.repair(drawn, rng)
        assert problem.are_feasible(repaired).all()
        assert set(map(tuple, repaired.tolist())) <= set(self.all_feasible(self.BOUNDS))
        were = problem.are_feasible(drawn)
        assert (repaired[were] == problem.canonical(drawn)[were]).all()
        assert 20 < were.sum() < 480

    @pytest.mark.parametrize("is_large", [False, True])
    def test_constraints_that_no_subnet_meets_are_named(self, monkeypatch, is_large):
        if is_large:
            monkeypatch.setattr("elasticnas.search.space.ENUMERABLE", 0)
        _, model = branching()

        def admission(*bounds: tuple[Cost, float]) -> Admission:
            return Admission(self.searched(*bounds), lambda s: cost_report(model, s, LENGTH))

        admission(*self.BOUNDS)
        with pytest.raises(InputError, match=r"constraints/1/max.*params of 12"):
            admission((Cost.TRAINABLE_PARAMS, 24), (Cost.PARAMS, 11))
