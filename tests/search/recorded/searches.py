"""Searches whose evaluations were recorded, and how each is run again.

``python -m tests.search.recorded.searches`` records anew: only when proposals are meant to change.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.problems.analytic import MAX_LENGTH, _cost_model, _instance
from elasticnas.api_schemas.costs import Cost, CostModel
from elasticnas.api_schemas.searches import SearchCreate
from elasticnas.api_schemas.spaces import BLOCKS, Dimension
from elasticnas.search.cost import cost_report
from elasticnas.search.loop import SearchLoop
from elasticnas.search.objectives import Objectives
from elasticnas.search.races.course import pack
from elasticnas.search.space import SearchSpace, SubnetConfig
from tests.search.crowd import ROWS, hits, seed_of

FILE = Path(__file__).parent / "searches.json"
EVALUATIONS = 60
LAYERS = 4
BOUND = 0.6
"""Of the maximal subnet's cost."""


@dataclass(frozen=True)
class Case:
    """One search; ``bounded`` names the cost that must not exceed `BOUND` of the maximal one's."""

    strategy: Mapping[str, Any]
    seed: int = 0
    bounded: Cost | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    deep: bool = False
    evaluations: int = EVALUATIONS

    @property
    def name(self) -> str:
        """What tells this case from the others."""
        return json.dumps(
            {
                **self.strategy,
                "seed": self.seed,
                "bounded": self.bounded,
                **self.fields,
                **({"deep": True} if self.deep else {}),
                "evaluations": self.evaluations,
            }
        )


NAMES = ("pareto", "linas", "hill-climbing", "nsga2", "nsga3", "tpe", "random")
BOUNDS = (None, Cost.GFLOPS)
VARIANTS: tuple[Mapping[str, Any], ...] = (
    {"name": "linas", "predictor": "svr", "population_size": 15},
    *(
        {"name": "nsga2", "population_size": 12, "crossover": crossover}
        for crossover in ("uniform", "ordinal", "layer", "sbx", "blx_alpha", "v_sbx")
    ),
    {"name": "nsga3", "population_size": 12},
    {"name": "tpe", "multivariate": False, "n_startup_trials": 10},
)
SURROGATES = ("bayesian_linear", "gaussian_process", "trees")
THREE = {"objectives": ["accuracy", "gflops", "nonzero_params"]}
RACING = {"racing": {"confidence": 0.9}}
LAYER = {"name": "nsga2", "population_size": 12, "crossover": "layer"}

CASES = (
    *(
        Case({"name": name}, seed, bounded, evaluations=40 if name == "pareto" else EVALUATIONS)
        for name in NAMES
        for seed in (0, 1)
        for bounded in BOUNDS
    ),
    *(Case(variant, bounded=bounded) for variant in VARIANTS for bounded in BOUNDS),
    *(Case(LAYER, bounded=bounded, deep=True) for bounded in BOUNDS),
    Case({"name": "random"}, bounded=Cost.GFLOPS, fields=THREE),
    Case({"name": "tpe"}, fields=RACING),
    Case({"name": "pareto"}, bounded=Cost.GFLOPS, deep=True, evaluations=30),
)
SLOW = (
    *(Case({"name": "pareto", "surrogate": s}, bounded=b) for s in SURROGATES for b in BOUNDS),
    *(Case({"name": "pareto"}, bounded=bounded, deep=True) for bounded in BOUNDS),
    Case({"name": "pareto"}, bounded=Cost.GFLOPS, fields=THREE),
    Case({"name": "pareto"}, fields=RACING),
    *(Case({"name": "gp"}, bounded=bounded, evaluations=30) for bounded in BOUNDS),
)


@cache
def problem(deep: bool) -> tuple[SearchSpace, CostModel]:
    """The analytic problem of the benchmarks, with a depth if asked for."""
    space, model, *_ = _instance(0, LAYERS)
    if not deep:
        return space, model
    depth = Dimension(name="depth", part=BLOCKS, choices=(4, 3, 2))
    return (
        SearchSpace((*space.dimensions, depth)),
        _cost_model(LAYERS, depth),
    )


def accuracy(subnet: SubnetConfig) -> float:
    """The analytic problem's true accuracy; half a point less for each layer dropped."""
    space, _, _, damage = _instance(0, LAYERS)
    own = {name: choice for name, choice in subnet.items() if name != "depth"}
    drop = 0.005 * (LAYERS - subnet.get("depth", LAYERS))
    return float(damage.accuracy(np.array([space.encode(space.subnet(own))]))[0]) - drop


def run(case: Case) -> dict[str, Any]:
    """All evaluations of the search: choice indices by number, and what they cost together."""
    space, model = problem(case.deep)
    maximal = cost_report(model, space.maximal, MAX_LENGTH)
    bounds = []
    if case.bounded is not None:
        bounds = [{"cost": case.bounded, "max": BOUND * maximal.values()[case.bounded]}]
    request = SearchCreate.model_validate(
        {
            "supernet_id": "s",
            "dataset_id": "d",
            "strategy": dict(case.strategy),
            "seed": case.seed,
            "budget": {"evaluations": case.evaluations},
            "constraints": bounds,
            "parallel_evaluations": 4,
            **case.fields,
        }
    )
    names = request.objectives or ["accuracy", Cost.GFLOPS]
    search = SearchLoop(
        request,
        space,
        model,
        max_length=MAX_LENGTH,
        objectives=Objectives(tuple(names), maximal),
        rows=ROWS,
    )
    # Results come in any order: a strategy is told them by rising number.
    order = random.Random(0)
    waiting = list(search.start())
    done: dict[int, tuple[int, ...]] = {}
    counted = {cost: 0 for cost in model.costs if cost is not Cost.GFLOPS}
    while waiting:
        proposal = waiting.pop(order.randrange(len(waiting)))
        done[proposal.number] = space.encode(proposal.subnet)
        for cost in counted:
            counted[cost] += int(proposal.cost.values()[cost])
        bits = hits(accuracy(proposal.subnet), seed_of(proposal.subnet))
        measured = {"accuracy": float(np.mean(bits))}
        seen = pack(bits) if request.racing is not None else None
        waiting += search.record(proposal.number, measured, hits=seen).proposals
    return {
        "subnets": ["".join(map(str, done[number])) for number in sorted(done)],
        "costs": {cost.value: total for cost, total in counted.items()},
        "hypervolume": round(search.archive.hypervolume, 9),
    }


if __name__ == "__main__":
    found = {case.name: run(case) for case in (*CASES, *SLOW)}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(kept)}" for name, kept in found.items())
    FILE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
