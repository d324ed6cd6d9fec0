"""Whole searches over the made-up space of `tests.search.spaces`."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Sequence

from optuna.trial import FrozenTrial

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.searches import SearchCreate
from elasticnas.search.cost import cost_report
from elasticnas.search.loop import Proposal, Recorded, SearchLoop
from elasticnas.search.objectives import Objectives
from elasticnas.search.space import SubnetConfig
from tests.search.spaces import accuracy, cost_model, space

Measure = Callable[[SubnetConfig], dict[str, float] | None]


def loop(
    strategy: dict, *, evaluations: int, seed: int = 0, recorded: Sequence[Recorded] = (), **fields
) -> SearchLoop:
    layers = fields.pop("layers", 4)
    create = SearchCreate.model_validate(
        {
            "supernet_id": "s",
            "dataset_id": "d",
            "strategy": strategy,
            "seed": seed,
            "budget": {"evaluations": evaluations},
            **fields,
        }
    )
    model = cost_model(layers)
    names = create.objectives or ["accuracy", Cost.GFLOPS]
    return SearchLoop(
        create,
        space(layers),
        model,
        max_length=64,
        objectives=Objectives(tuple(names), cost_report(model, space(layers).maximal, 64)),
        recorded=recorded,
        rows=872,
    )


def run(search: SearchLoop, measure: Measure = accuracy) -> list[Proposal]:
    """Evaluate everything that the search proposes, in order."""
    waiting, done = deque(search.start()), []
    while waiting:
        proposal = waiting.popleft()
        done.append(proposal)
        waiting.extend(search.record(proposal.number, measure(proposal.subnet)).proposals)
    return done


def resumed(
    strategy: dict,
    undisturbed: list[Proposal],
    *,
    died_after: int,
    measure: Measure = accuracy,
    **fields,
) -> list[SubnetConfig]:
    """The subnets of the same search, had its process died after so many results."""
    evaluations = len(undisturbed)
    in_flight = min(died_after + 8, evaluations)
    rows = [
        Recorded(p.number, p.subnet, p.number < died_after, measure(p.subnet))
        for p in undisturbed[:in_flight]
    ]
    restored = loop(strategy, evaluations=evaluations, recorded=rows, **fields)
    found = [p.subnet for p in undisturbed[:in_flight]]
    waiting = deque([*undisturbed[died_after:in_flight], *restored.start()])
    while waiting:
        proposal = waiting.popleft()
        proposals = restored.record(proposal.number, measure(proposal.subnet)).proposals
        found += [p.subnet for p in proposals]
        waiting.extend(proposals)
    return found


def trials_in_memory() -> int:
    """How many of Optuna's trials this process holds, in whatever study."""
    gc.collect()
    return sum(type(each) is FrozenTrial for each in gc.get_objects())
