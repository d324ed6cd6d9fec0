from __future__ import annotations

import numpy as np
import pytest

from elasticnas.api_schemas.costs import Cost
from elasticnas.search.cost import cost_report
from elasticnas.search.cost_table import CostTable
from tests.search.spaces import accuracy, cost_model, space
from tests.search.strategies.searching import loop, resumed, run

RANDOM = {"name": "random"}


def bound(share: float, layers: int = 4) -> list[dict[str, object]]:
    maximal = cost_report(cost_model(layers), space(layers).maximal, 64)
    return [{"cost": "gflops", "max": share * maximal.gflops}]


def test_under_a_constraint_draws_do_not_gather_at_the_bound():
    searched = loop(RANDOM, evaluations=400, constraints=bound(0.6))
    found = run(searched)
    limit = bound(0.6)[0]["max"]
    own = [p.cost.gflops for p in found if p.origin == "strategy"]
    axes = np.indices(space().cardinalities)
    everything = np.stack([axis.ravel() for axis in axes], axis=1)
    costs = CostTable(space(), cost_model(), 64).of(everything, [Cost.GFLOPS])[:, 0]
    assert np.mean(own) == pytest.approx(np.mean(costs[costs <= limit]), rel=0.01)


@pytest.mark.parametrize("layers", [4, 8])
def test_goes_on_from_its_records_under_a_constraint(layers):
    fields = {"constraints": bound(0.5, layers), "layers": layers}
    undisturbed = run(loop(RANDOM, evaluations=100, **fields))
    assert len({p.subnet for p in undisturbed}) == 100
    found = resumed(RANDOM, undisturbed, died_after=61, measure=accuracy, **fields)
    assert found == [p.subnet for p in undisturbed]
