"""The share of a search space that constraints leave, and the ends of its costs."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from elasticnas.api_schemas.costs import Cost, CostModel
from elasticnas.api_schemas.feasibility import CostRange, FeasibilityRead, FeasibilityRequest
from elasticnas.api_schemas.verification import Interval
from elasticnas.search.cost_table import CostTable
from elasticnas.search.feasible import Feasible
from elasticnas.search.space import SearchSpace

Z = 1.959963984540054
"""The 97.5th percentile of the normal distribution."""


def feasibility(
    space: SearchSpace, model: CostModel, max_length: int, request: FeasibilityRequest
) -> FeasibilityRead:
    """What the constraints of a request leave of a space; the same request, the same answer."""
    table = CostTable(space, model, max_length)
    feasible = Feasible(space, table, request.constraints)
    found, among = feasible.count(request.samples, np.random.default_rng(request.seed))
    is_exact = space.is_enumerable or feasible.is_everything
    bounded = sorted({each.cost for each in request.constraints})
    return FeasibilityRead(
        max_length=max_length,
        size=space.size,
        share=_share(found, among, is_exact=is_exact),
        samples=among,
        is_exact=is_exact,
        range=_ranges(feasible.unconstrained, model.costs),
        feasible=None if feasible.is_empty else _ranges(feasible, bounded),
    )


def _ranges(feasible: Feasible, costs: Iterable[Cost]) -> dict[str, CostRange]:
    return {
        cost.value: CostRange(low=feasible.cheapest(cost), high=feasible.dearest(cost))
        for cost in costs
    }


def _share(found: int, among: int, *, is_exact: bool) -> Interval:
    """The share with its interval of 95 % (Wilson 1927, "Probable inference"), which also holds
    where none or all were found."""
    share = found / among
    if is_exact:
        return Interval(value=share, low=share, high=share)
    scale = 1 + Z**2 / among
    middle = (share + Z**2 / (2 * among)) / scale
    half = Z * math.sqrt(share * (1 - share) / among + Z**2 / (4 * among**2)) / scale
    return Interval(value=share, low=max(0.0, middle - half), high=min(1.0, middle + half))
