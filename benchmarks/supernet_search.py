"""Searches of a super-network's subnets, in one process, as the service runs them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from elasticnas.api_schemas.costs import Cost, CostModel
from elasticnas.api_schemas.searches import SearchCreate
from elasticnas.search.cost import cost_report
from elasticnas.search.loop import Proposal, SearchLoop
from elasticnas.search.objectives import Objectives
from elasticnas.search.space import SearchSpace, SubnetConfig

Metrics = dict[str, float]


def search_loop(
    space: SearchSpace,
    model: CostModel,
    metric: str,
    cost: Cost = Cost.GFLOPS,
    *,
    rows: int,
    max_length: int,
    **request: Any,
) -> SearchLoop:
    """A search by a metric and a cost that is not begun yet; ``request`` is the rest of its own."""
    body = {"supernet_id": "benchmark", "dataset_id": "benchmark", "objectives": [metric, cost]}
    maximal = cost_report(model, space.maximal, max_length)
    return SearchLoop(
        SearchCreate.model_validate(body | request),
        space,
        model,
        max_length=max_length,
        objectives=Objectives((metric, cost), maximal),
        rows=rows,
    )


def run_search(
    loop: SearchLoop, evaluate: Callable[[SubnetConfig], Metrics]
) -> list[tuple[Proposal, Metrics]]:
    """Run a search to its end, one evaluation after the other: what it proposed and measured."""
    waiting = deque(loop.start())
    found: list[tuple[Proposal, Metrics]] = []
    while waiting:
        proposal = waiting.popleft()
        metrics = evaluate(proposal.subnet)
        found.append((proposal, metrics))
        waiting.extend(loop.record(proposal.number, metrics).proposals)
    return found
