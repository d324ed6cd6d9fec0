"""A made-up space of the kind of NAS-Bench-Macro (Su et al. 2021): choices without an order.

Eight layers, each with one of three operations, of which a dearer one may be worse: the accuracy
of a layer's operations is drawn independently, and so is what each two operations in neighbouring
layers do to each other. All 6,561 subnets are walked through for the best front.
"""

from __future__ import annotations

import numpy as np

from benchmarks.problems.problem import Bounds, Problem, constraints_of, front_of_all
from elasticnas.api_schemas.spaces import OPERATION, Dimension
from elasticnas.search.cost_table import CostTable
from elasticnas.search.cost_terms import Extent, cost_model, linear, parameters
from elasticnas.search.space import SearchSpace, SubnetConfig

LAYERS = 8
OPERATIONS = (6, 3, 1)
"""The expansion of each operation; 1 stands for the identity."""
MAX_LENGTH = 64
ROWS = 10_000


def unordered(seed: int, *, bounds: Bounds | None = None) -> Problem:
    """An instance; another seed, other operations that work."""
    rng = np.random.default_rng([2021, seed])
    names = [f"layer.{layer}.ffn.width" for layer in range(LAYERS)]
    space = SearchSpace(
        tuple(
            Dimension(name=name, part=OPERATION, layer=layer, choices=OPERATIONS)
            for layer, name in enumerate(names)
        )
    )
    widths = np.geomspace(64, 256, LAYERS).astype(int).tolist()
    terms = [parameters(10_000)]
    for name, width in zip(names, widths, strict=True):
        rows = Extent(full=6 * width, dimension=name, unit=width)
        terms += linear(rows, Extent(full=width))
    model = cost_model(terms)
    axes = np.indices(space.cardinalities)
    every = np.stack([axis.ravel() for axis in axes], axis=1)
    # An operation of more cost is better on the whole, by as much as operations differ at random.
    single = rng.normal(0, 1, (LAYERS, 3)) + np.array([1.0, 0.5, -1.0])
    pairs = rng.normal(0, 0.35, (LAYERS - 1, 3, 3))
    worth = single[np.arange(LAYERS), every].sum(axis=1)
    for layer in range(LAYERS - 1):
        worth += pairs[layer, every[:, layer], every[:, layer + 1]]
    accuracies = 0.93 - 0.12 * ((worth.max() - worth) / np.ptp(worth)) ** 1.5
    constraints = constraints_of(bounds or {}, space, model, MAX_LENGTH)

    def truth(subnet: SubnetConfig) -> float:
        return float(accuracies[np.ravel_multi_index(space.encode(subnet), space.cardinalities)])

    def measure(subnet: SubnetConfig) -> float:
        drawn = np.random.default_rng([seed, int(subnet.key, 16)])
        return float(drawn.binomial(ROWS, truth(subnet))) / ROWS

    return Problem(
        name="unordered",
        space=space,
        cost_model=model,
        max_length=MAX_LENGTH,
        rows=ROWS,
        measure=measure,
        truth=truth,
        front=front_of_all(space, CostTable(space, model, MAX_LENGTH), 1 - accuracies, constraints),
        constraints=constraints,
    )
