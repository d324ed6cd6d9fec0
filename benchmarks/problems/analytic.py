"""A made-up super-network of any depth, with the structure that real ones show.

Every layer has attention heads, an FFN width and a LoRA rank. Cutting a dimension does damage that
grows faster the more is cut, from little at first; layers matter to very different degrees; cuts
in one layer and in neighbouring ones aggravate or spare each other; a smaller rank is sometimes
better. Damages add up and saturate into a loss of accuracy. Costs are those of a BERT encoder of
hidden size 768 at 128 tokens, where a rank costs no operations. A measurement draws each of
``rows`` answers: binomial noise, the same whenever one subnet is measured again. With shared luck
most of what makes a row hard is drawn once for all subnets, as real subnets answer the same rows:
what is measured is then far off as a whole, and little from subnet to subnet.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from benchmarks.problems.problem import Bounds, Problem, constraints_of
from elasticnas.api_schemas.costs import Cost, CostModel
from elasticnas.api_schemas.searches import Constraint
from elasticnas.api_schemas.spaces import FFN, HEADS, RANK, Dimension, leading
from elasticnas.search.activity import Indices
from elasticnas.search.cost_table import CostTable
from elasticnas.search.cost_terms import Extent, attention, linear, parameters
from elasticnas.search.cost_terms import cost_model as summed
from elasticnas.search.feasible import Feasible
from elasticnas.search.pareto import Losses, non_dominated
from elasticnas.search.space import SearchSpace, SubnetConfig

MAX_LENGTH = 128

TOLLS = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3)
"""What all of a bounded cost that is no objective is worth in accuracy, to find the best front."""

SHARED = 0.9
"""With shared luck: the share that a row has in the variance of what decides about an answer."""


@dataclass(frozen=True)
class Damage:
    """How much is lost by cutting: ``single[d][i]`` by choice i of dimension d alone.

    ``cut[d][i]`` is the share of the range cut away, ``pairs`` (dimensions, dimensions) what two
    full cuts cost beyond the sum of both.
    """

    single: NDArray[np.float64]
    cut: NDArray[np.float64]
    pairs: NDArray[np.float64]
    best: float
    drop: float

    def accuracy(self, indices: Indices) -> NDArray[np.float64]:
        """The true accuracy of subnets (n, dimensions): shape (n,)."""
        every = np.arange(indices.shape[1])
        cuts = self.cut[every, indices]
        damage = self.single[every, indices].sum(axis=1)
        damage += np.einsum("ni,ij,nj->n", cuts, self.pairs, cuts, optimize=True)
        return np.asarray(self.best - self.drop * np.tanh(damage))


def analytic(
    seed: int,
    *,
    layers: int = 12,
    rows: int = 872,
    bounds: Bounds | None = None,
    shared_luck: bool = False,
) -> Problem:
    """An instance with ``3 * layers`` dimensions; another seed, another super-network."""
    space, model, table, damage = _instance(seed, layers)

    def truth(subnet: SubnetConfig) -> float:
        return float(damage.accuracy(np.array([space.encode(subnet)]))[0])

    def measure(subnet: SubnetConfig) -> float:
        drawn = np.random.default_rng([seed, int(subnet.key, 16)])
        if not shared_luck:
            return float(drawn.binomial(rows, truth(subnet))) / rows
        own = drawn.standard_normal(rows)
        difficulty = SHARED**0.5 * hardness + (1 - SHARED) ** 0.5 * own
        return float(np.mean(difficulty < norm.ppf(truth(subnet))))

    hardness = np.random.default_rng([seed, rows]).standard_normal(rows)
    constraints = constraints_of(bounds or {}, space, model, MAX_LENGTH)
    # A bound on what is an objective only cuts the best front off.
    others = tuple(each for each in constraints if each.cost is not Cost.GFLOPS)
    front = _best_known(seed, layers, others)
    for limit in set(constraints) - set(others):
        front = front[front[:, 1] * _largest(table, space) <= limit.max * (1 + 1e-12)]
    return Problem(
        name=f"{'shared' if shared_luck else 'analytic'}-{3 * layers}",
        space=space,
        cost_model=model,
        max_length=MAX_LENGTH,
        rows=rows,
        measure=measure,
        truth=truth,
        front=front,
        constraints=constraints,
    )


def _space(layers: int) -> SearchSpace:
    dimensions = []
    for layer in range(layers):
        for name, part, choices in (
            ("attention.heads", HEADS, (12, 10, 8, 6)),
            ("ffn.width", FFN, (3072, 2560, 2048, 1536, 1024)),
            ("lora.rank", RANK, (8, 4, 2)),
        ):
            name = f"layer.{layer}.{name}"
            dimensions.append(Dimension(name=name, part=part, layer=layer, choices=choices))
    return SearchSpace(tuple(dimensions))


def _cost_model(layers: int, depth: Dimension | None = None) -> CostModel:
    """The costs of a BERT encoder; a ``depth`` says how many of its first layers there are."""
    terms = [parameters(23_000_000)]
    presences = () if depth is None else leading(depth, layers)
    hidden = Extent(full=768)
    for layer in range(layers):
        width = Extent(full=768, dimension=f"layer.{layer}.attention.heads", unit=64)
        ffn = Extent(full=3072, dimension=f"layer.{layer}.ffn.width")
        rank = Extent(full=8, dimension=f"layer.{layer}.lora.rank")
        when = tuple(each.when for each in presences if (each.layer, each.half) == (layer, "ffn"))
        for rows, columns, adapter in (
            (width, hidden, rank),
            (width, hidden, None),
            (width, hidden, rank),
            (hidden, width, None),
            (ffn, hidden, None),
            (hidden, ffn, None),
        ):
            terms += linear(rows, columns, bias=True, rank=adapter, when=when)
        terms.append(attention(width, when=when))
        terms.append(parameters(4 * 768, when=when))
    return summed(terms)


def _damage(space: SearchSpace, layers: int, rng: np.random.Generator) -> Damage:
    count = len(space.dimensions)
    most = max(space.cardinalities)
    cut, single = np.zeros((count, most)), np.zeros((count, most))
    depth = np.repeat(np.linspace(0, 1, layers), 3)
    profile = 1 + rng.uniform(0, 1.5) * (2 * depth - 1) ** 2 + rng.uniform(-0.6, 0.6) * depth
    kind = np.tile([1.0, 1.3, 0.25], layers)
    weight = kind * profile * np.exp(rng.normal(0, 0.6, count))
    ranks = np.arange(count) % 3 == 2
    weight[ranks & (rng.random(count) < 0.3)] *= -0.5
    for position, dimension in enumerate(space.dimensions):
        choices = np.array(dimension.choices, dtype=float)
        share = (choices[0] - choices) / (choices[0] - choices[-1])
        bend = rng.uniform(0.5, 3.0)
        cut[position, : len(choices)] = share
        single[position, : len(choices)] = (
            weight[position] * np.expm1(bend * share) / np.expm1(bend)
        )
    pairs = np.zeros((count, count))
    near = np.abs(np.subtract.outer(np.arange(count) // 3, np.arange(count) // 3)) <= 1
    strength = np.sqrt(np.abs(np.outer(weight, weight)))
    pairs = np.triu(rng.normal(0.08, 0.2, (count, count)) * strength * near, 1)
    far = np.triu(rng.random((count, count)) < 2 / count, 1) & ~near
    pairs += rng.normal(0, 0.2, (count, count)) * strength * far
    total = single[np.arange(count), np.array(space.cardinalities) - 1].sum() + pairs.sum()
    scale = rng.uniform(0.9, 1.5) / total
    best = rng.uniform(0.8, 0.94)
    return Damage(single * scale, cut, pairs * scale, best, rng.uniform(0.08, 0.3))


@cache
def _instance(seed: int, layers: int) -> tuple[SearchSpace, CostModel, CostTable, Damage]:
    """What one seed makes up."""
    space, model = _space(layers), _cost_model(layers)
    damage = _damage(space, layers, np.random.default_rng([2026, seed, layers]))
    return space, model, CostTable(space, model, MAX_LENGTH), damage


def _largest(table: CostTable, space: SearchSpace) -> float:
    maximal = np.zeros((1, len(space.dimensions)), dtype=np.intp)
    return float(1.1 * table.of(maximal, [Cost.GFLOPS])[0, 0])


@cache
def _best_known(seed: int, layers: int, others: tuple[Constraint, ...]) -> Losses:
    """The front by descent on accuracy plus a price on cost, for many prices, then by local moves.

    Noise-free and with the formula in hand, so far beyond what a search can reach. What is bounded
    in ``others`` and is no objective has a price too.
    """
    space, _, table, damage = _instance(seed, layers)
    largest = _largest(table, space)
    cards = np.array(space.cardinalities)
    feasible = Feasible(space, table, others)
    rng = np.random.default_rng(0)
    prices = np.concatenate([[0.0], np.geomspace(0.003, 3.0, 120)])

    def losses(indices: Indices) -> Losses:
        costs = table.of(indices, [Cost.GFLOPS])[:, 0] / largest
        return np.stack([1 - damage.accuracy(indices), costs], axis=1)

    def toll(indices: Indices) -> NDArray[np.float64]:
        """The other bounded costs, as shares of their bounds: shape (n,)."""
        costs = table.of(indices, [each.cost for each in others])
        return np.asarray(costs @ np.array([1 / each.max for each in others]))

    found = []
    for start, dear in itertools.product(range(2), TOLLS if others else (0.0,)):
        states = np.zeros((len(prices), len(cards)), dtype=np.intp)
        if start:
            states = np.floor(rng.random(states.shape) * cards).astype(np.intp)
        for _ in range(6):
            for dimension in rng.permutation(len(cards)):
                options = np.repeat(states[:, None, :], cards[dimension], axis=1)
                options[:, :, dimension] = np.arange(cards[dimension])
                flat = options.reshape(-1, len(cards))
                loss, cost = losses(flat).T
                total = loss + np.repeat(prices, cards[dimension]) * cost
                if dear:
                    total += dear * toll(flat)
                states[:, dimension] = np.argmin(total.reshape(len(prices), -1), axis=1)
        found.append(states)
    best = np.unique(np.concatenate(found), axis=0)
    for _ in range(32 if others else 8):
        best = best[feasible.mask(best)] if others else best
        best = best[non_dominated(losses(best))]
        moves = best[rng.integers(len(best), size=4000)]
        for _ in range(2):
            dimension = rng.integers(len(cards), size=len(moves))
            each = np.arange(len(moves))
            moves[each, dimension] = np.floor(rng.random(len(moves)) * cards[dimension])
        best = np.unique(np.concatenate([best, moves]), axis=0)
    front = losses(best[feasible.mask(best)])
    return front[non_dominated(front)]
