"""A part of a real super-network, every subnet of which was measured (see `tabulate`).

LoNAS on MiniLM (6 layers) for SST-2, 872 validation rows, four FFN widths and two numbers of heads
left free, and the FFN width of the last layer: 9,216 subnets. The measured accuracy is the truth
here, luck included.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmarks.problems.problem import Bounds, Problem, constraints_of, front_of_all
from elasticnas.api_schemas.costs import CostModel
from elasticnas.api_schemas.spaces import Dimension
from elasticnas.search.cost_table import CostTable
from elasticnas.search.space import SearchSpace, SubnetConfig

TABLE = Path(__file__).parent / "lonas-minilm-sst2.json"


def tabular(table: Path = TABLE, *, bounds: Bounds | None = None) -> Problem:
    """The problem of a table that ``tabulate`` wrote."""
    stored = json.loads(table.read_text(encoding="utf-8"))
    space = SearchSpace(tuple(Dimension.model_validate(d) for d in stored["dimensions"]))
    model = _frozen(CostModel.model_validate(stored["cost_model"]), stored["frozen"])
    rows, correct = stored["rows"], np.array(stored["correct"])

    def accuracy(subnet: SubnetConfig) -> float:
        return float(
            correct[np.ravel_multi_index(space.encode(subnet), space.cardinalities)] / rows
        )

    constraints = constraints_of(bounds or {}, space, model, stored["max_length"])
    costs = CostTable(space, model, stored["max_length"])
    return Problem(
        name="tabular",
        space=space,
        cost_model=model,
        max_length=stored["max_length"],
        rows=rows,
        measure=accuracy,
        truth=accuracy,
        front=front_of_all(space, costs, 1 - correct / rows, constraints),
        constraints=constraints,
    )


def _frozen(model: CostModel, choices: Mapping[str, int]) -> CostModel:
    """A cost model with the amounts of frozen dimensions multiplied in."""
    return CostModel(
        terms=tuple(
            term.model_copy(
                update={
                    "coefficient": term.coefficient
                    * math.prod(choices[name] for name in term.amounts if name in choices),
                    "amounts": tuple(name for name in term.amounts if name not in choices),
                }
            )
            for term in model.terms
        )
    )
