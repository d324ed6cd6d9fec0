"""Evolution of many subnets at once, as pure functions over arrays of choice indices.

Everything random comes from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from elasticnas.search.cost_table import Indices
from elasticnas.search.pareto import Losses, non_dominated

Fitness = Callable[[Indices], Losses]
"""Losses (n, m) of subnets (n, dimensions)."""

EXTREME = 0.65
"""The share of choices in a random subnet that are the largest or the smallest."""


def ranks(losses: Losses, *, enough: int | None = None) -> NDArray[np.intp]:
    """The non-domination rank of each row of ``losses`` (n, m): 0 for the front. Shape (n,).

    Once ``enough`` rows are ranked, the rest share the next rank.
    """
    rank = np.full(len(losses), -1, dtype=np.intp)
    left = np.arange(len(losses))
    level = 0
    while len(left):
        if enough is not None and len(losses) - len(left) >= enough:
            rank[left] = level
            break
        front = non_dominated(losses[left])
        rank[left[front]] = level
        left = left[~front]
        level += 1
    return rank


def crowding(losses: Losses) -> NDArray[np.float64]:
    """The crowding distance of each row of one front (n, m): shape (n,), infinite at the ends.

    NSGA-II, Deb et al. 2002, section III-B.
    """
    distance = np.zeros(len(losses))
    for column in losses.T:
        order = np.argsort(column, kind="stable")
        spread = column[order[-1]] - column[order[0]]
        distance[order[[0, -1]]] = np.inf
        if spread > 0 and len(order) > 2:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / spread
    return distance


def survivors(losses: Losses, count: int) -> NDArray[np.intp]:
    """The positions of the best ``count`` rows of ``losses`` (n, m), the best first.

    By rank, then by crowding within it: NSGA-II's selection.
    """
    rank = ranks(losses, enough=count)
    distance = np.empty(len(losses))
    for level in range(rank.max(initial=-1) + 1):
        members = np.flatnonzero(rank == level)
        distance[members] = crowding(losses[members])
    return np.lexsort((-distance, rank))[:count]


def crossover(first: Indices, second: Indices, rng: np.random.Generator) -> Indices:
    """One child per pair of parents (n, dimensions): each choice from either parent."""
    return np.where(rng.random(first.shape) < 0.5, first, second)


def mutate(
    parents: Indices,
    cardinalities: NDArray[np.intp],
    rng: np.random.Generator,
    *,
    changes: float = 1.0,
) -> Indices:
    """Change about ``changes`` dimensions of each parent (n, dimensions), and at least one.

    Half the changes are a step up or down, the other half any choice.
    """
    free = np.flatnonzero(cardinalities > 1)
    if len(free) == 0:
        return parents.copy()
    hit = rng.random((len(parents), len(free))) < changes / len(free)
    hit[np.arange(len(parents)), rng.integers(len(free), size=len(parents))] = True
    steps = parents[:, free] + rng.choice((-1, 1), size=hit.shape)
    anything = np.floor(rng.random(hit.shape) * cardinalities[free]).astype(np.intp)
    new = np.where(rng.random(hit.shape) < 0.5, steps, anything)
    children = parents.copy()
    children[:, free] = np.where(hit, np.clip(new, 0, cardinalities[free] - 1), parents[:, free])
    return children


def neighbours(subnet: NDArray[np.intp], cardinalities: NDArray[np.intp]) -> Indices:
    """Every subnet one step away from ``subnet`` (dimensions,): shape (n, dimensions)."""
    steps = []
    for dimension in np.flatnonzero(cardinalities > 1):
        for index in (subnet[dimension] - 1, subnet[dimension] + 1):
            if 0 <= index < cardinalities[dimension]:
                step = subnet.copy()
                step[dimension] = index
                steps.append(step)
    return np.array(steps, dtype=np.intp).reshape(-1, len(subnet))


def random_subnets(
    count: int, cardinalities: NDArray[np.intp], rng: np.random.Generator
) -> Indices:
    """Subnets (count, dimensions) spread from minimal to maximal, most choices extreme ones.

    Each subnet leans to large or small choices by a degree of its own; uniform ones would all cost
    about the average. And the further apart two choices are, the more a measurement tells about
    what lies between them.
    """
    shape = (count, len(cardinalities))
    extreme = np.where(rng.random(shape) < rng.random((count, 1)), cardinalities - 1, 0)
    anything = np.floor(rng.random(shape) * cardinalities).astype(np.intp)
    return np.where(rng.random(shape) < EXTREME, extreme, anything)


def distinct(indices: Indices) -> Indices:
    """The subnets (n, dimensions) without repeats, in order of their first appearance."""
    first = np.unique(indices, axis=0, return_index=True)[1]
    return indices[np.sort(first)]
