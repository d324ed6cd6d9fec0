"""Costs layer by layer, and what constraints leave of a space."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from elasticnas.api_schemas.costs import CostModel
from elasticnas.api_schemas.feasibility import FeasibilityRequest
from elasticnas.api_schemas.searches import Constraint
from elasticnas.api_schemas.spaces import Dimension, leading
from elasticnas.search.cost import cost_report
from elasticnas.search.cost_terms import Extent, cost_model, linear, parameters
from elasticnas.search.feasibility import feasibility
from elasticnas.search.layer_costs import LayeredCosts
from elasticnas.search.space import SearchSpace
from tests.service.stand_in import synthetic_report

REPORT = synthetic_report()
SPACE = SearchSpace(REPORT.dimensions)


def with_depth() -> tuple[SearchSpace, CostModel, LayeredCosts]:
    """Two layers, of which a subnet may leave the second out; each knows its terms."""
    depth = Dimension(name="depth", part="blocks", choices=(2, 1))
    widths = [Dimension(name=f"w{i}", part="ffn", layer=i, choices=(64, 32, 16)) for i in range(2)]
    presences = leading(depth, 2)
    terms = []
    for i, width in enumerate(widths):
        when = [each.when for each in presences if each.layer == i and each.half == "ffn"]
        own = [
            *linear(Extent(full=64, dimension=width.name), Extent(full=8), bias=True, when=when),
            parameters(100 + i, when=when),
        ]
        terms += [term.model_copy(update={"layer": i}) for term in own]
    space = SearchSpace((depth, *widths))
    model = cost_model([*terms, parameters(1000)])
    return space, model, LayeredCosts(space, model, presences)


def test_layers_and_rest_are_the_whole():
    space, model, layered = with_depth()
    for indices in itertools.product((0, 1), (0, 2), (0, 1)):
        subnet = space.decode(indices)
        whole = cost_report(model, subnet, 16).values()
        parts = [each.cost for each in layered.of(subnet, 16)] + [layered.rest(subnet, 16)]
        assert {name: sum(part[name] for part in parts) for name in whole} == pytest.approx(whole)
        assert layered.rest(subnet, 16)["params"] == 1000


def test_a_layer_that_is_left_out_does_not_run_and_costs_nothing():
    space, _, layered = with_depth()
    first, second = layered.of(space.subnet({"depth": 1, "w0": 32}), 16)
    assert first.runs == {"attention": True, "ffn": True}
    assert first.cost["params"] == 32 * 9 + 100
    assert (first.choices, first.share) == ({"w0": 32}, {"ffn": 0.5})
    assert second.runs == {"attention": False, "ffn": False}
    assert set(second.cost.values()) == {0}


def test_what_may_be_left_out_is_said_of_each_layer():
    _, _, layered = with_depth()
    read = layered.read()
    assert [(each.layer, each.optional) for each in read.layers] == [
        (0, []),
        (1, ["attention", "ffn"]),
    ]
    assert [each.name for each in read.dimensions] == ["depth"]


def test_terms_of_an_earlier_version_are_of_the_layer_of_their_dimensions():
    layered = LayeredCosts(SPACE, REPORT.cost_model, ())
    whole = cost_report(REPORT.cost_model, SPACE.heuristic, 64)
    layers = [each.cost["gflops"] for each in layered.of(SPACE.heuristic, 64)]
    assert sum(layers) == pytest.approx(whole.gflops)
    assert min(layers) > 0


def request(bound: float, **fields: int) -> FeasibilityRequest:
    return FeasibilityRequest(constraints=[Constraint(cost="gflops", max=bound)], **fields)


def middle() -> float:
    ends = [
        cost_report(REPORT.cost_model, subnet, 64).gflops
        for subnet in (SPACE.maximal, SPACE.minimal)
    ]
    return sum(ends) / 2


def test_a_small_space_is_counted():
    found = feasibility(SPACE, REPORT.cost_model, 64, request(middle()))
    gflops = [
        cost_report(REPORT.cost_model, SPACE.decode(row), 64).gflops
        for row in np.random.default_rng(1).integers(SPACE.cardinalities, size=(2000, 9)).tolist()
    ]
    drawn = np.mean(np.array(gflops) <= middle())
    assert found.is_exact
    assert found.samples == found.size == SPACE.size
    assert found.share.low == found.share.value == found.share.high
    assert found.share.value == pytest.approx(drawn, abs=0.05)
    assert found.feasible is not None
    assert found.range["gflops"].low == found.feasible["gflops"].low
    assert found.feasible["gflops"].high <= middle() < found.range["gflops"].high


def test_the_interval_of_a_sample_holds_the_share_that_counting_finds(monkeypatch):
    exact = feasibility(SPACE, REPORT.cost_model, 64, request(middle())).share.value
    monkeypatch.setattr("elasticnas.search.space.ENUMERABLE", 10)
    space = SearchSpace(REPORT.dimensions)
    holds = []
    for seed in range(40):
        found = feasibility(space, REPORT.cost_model, 64, request(middle(), seed=seed, samples=400))
        assert not found.is_exact
        holds.append(found.share.low <= exact <= found.share.high)
    assert sum(holds) >= 34  # 38 expected; fewer than 34 once in 100,000 runs
    again = feasibility(space, REPORT.cost_model, 64, request(middle(), seed=39, samples=400))
    assert again == found


def test_nothing_is_left_under_the_cheapest():
    least = cost_report(REPORT.cost_model, SPACE.minimal, 64).gflops
    found = feasibility(SPACE, REPORT.cost_model, 64, request(least * 0.99))
    assert (found.share.value, found.feasible) == (0.0, None)
    assert found.range["gflops"].low == least


def test_without_constraints_everything_is_left():
    found = feasibility(SPACE, REPORT.cost_model, 64, FeasibilityRequest())
    assert (found.share.value, found.is_exact, found.feasible) == (1.0, True, {})
