from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from elasticnas.api_schemas.costs import Cost
from elasticnas.search.cost import cost_report
from elasticnas.search.objectives import Objectives
from elasticnas.search.problem import SearchProblem
from elasticnas.search.space import SubnetConfig
from elasticnas.tasks import METRICS, Metric
from tests.search.spaces import accuracy, cost_model, space
from tests.search.strategies.searching import loop, run

NAMES = ["pareto", "linas", "hill-climbing", "nsga2", "nsga3", "tpe", "random"]


@pytest.fixture
def perplexity(monkeypatch) -> Iterator[Metric]:
    """A metric of which less is better, from 4 (ideal) to 20, known to this test alone."""
    metric = Metric("test_perplexity", 4.0, 20.0, lambda values, rows: values / rows**0.5)
    monkeypatch.setattr(METRICS, "_values", {**METRICS._values, metric.name: metric})
    return metric


def test_a_loss_is_the_share_of_the_way_from_the_ideal_to_the_worst(perplexity):
    maximal = cost_report(cost_model(), space().maximal, 64)
    objectives = Objectives((perplexity.name, Cost.GFLOPS), maximal)
    assert objectives.reference_point[perplexity.name] == 20.0
    cost = maximal.values()
    assert objectives.losses({perplexity.name: 8.0}, cost)[0] == 0.25
    assert objectives.failure_losses(cost)[0] == 1.0
    assert objectives.losses({perplexity.name: 36.0}, cost)[0] == 2.0


def test_noise_is_counted_in_losses(perplexity):
    maximal = cost_report(cost_model(), space().maximal, 64)
    names = (perplexity.name, Cost.GFLOPS)
    problem = SearchProblem(space(), cost_model(), 64, Objectives(names, maximal), rows=100)
    # At a loss of 0.25 the value is 8, its error 8 / 10, of a way of 16.
    assert problem.noise_variance(0, np.array([0.25])) == pytest.approx((0.8 / 16) ** 2)


@pytest.mark.parametrize("name", NAMES)
def test_every_strategy_makes_the_same_proposals_whichever_way_is_better(perplexity, name):
    """The same losses, said as an accuracy and as a perplexity of 4 + 16 * (1 - accuracy)."""

    def loss(subnet: SubnetConfig) -> float:
        return round(64 * (1 - accuracy(subnet)["accuracy"])) / 64  # exact both ways

    strategy = {"name": name}
    larger = run(loop(strategy, evaluations=30), lambda s: {"accuracy": 1 - loss(s)})
    search = loop(strategy, evaluations=30, objectives=[perplexity.name, "gflops"])
    smaller = run(search, lambda s: {perplexity.name: 4 + 16 * loss(s)})
    if name == "pareto":  # how far it trusts a metric is the metric's own
        assert len(smaller) == len(larger)
    else:
        assert [p.subnet for p in smaller] == [p.subnet for p in larger]
    assert search.archive.hypervolume > 0
