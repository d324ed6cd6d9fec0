"""A search of a language model's subnets by a metric and GFLOPs, as the service runs it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.searches import SearchCreate
from elasticnas.search.cost import cost_report
from elasticnas.search.loop import SearchLoop
from elasticnas.search.objectives import Objectives
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.supernet import Supernet


def search_loop(
    supernet: Supernet, metric: str, evaluations: int, *, rows: int, max_length: int
) -> SearchLoop:
    """A search that is not begun yet."""
    model = cost_model(supernet)
    body = {"supernet_id": "benchmark", "dataset_id": "benchmark"}
    maximal = cost_report(model, supernet.space.maximal, max_length)
    return SearchLoop(
        SearchCreate.model_validate(body | {"budget": {"evaluations": evaluations}}),
        supernet.space,
        model,
        max_length=max_length,
        objectives=Objectives((metric, Cost.GFLOPS), maximal),
        rows=rows,
    )


def searched(loop: SearchLoop, evaluate: Callable[[SubnetConfig], dict[str, float]]) -> float:
    """The processor's seconds of a search, its strategy's included."""
    start = time.process_time()
    waiting = deque(loop.start())
    while waiting:
        proposal = waiting.popleft()
        waiting.extend(loop.record(proposal.number, evaluate(proposal.subnet)).proposals)
    return time.process_time() - start
