"""Evolution of many subnets at once, as pure functions over arrays of choice indices.

Everything random comes from the generator that is passed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elasticnas.search.activity import Indices
from elasticnas.search.pareto import Losses, non_dominated
from elasticnas.search.space import SearchSpace

Fitness = Callable[[Indices], Losses]
"""Losses (n, m) of subnets (n, dimensions)."""

EXTREME = 0.65
"""The share of choices in a random subnet that are the largest or the smallest."""


@dataclass(frozen=True)
class Choices:
    """How many choices each dimension has, and whether they are ordered: shape (dimensions,).

    ``weights``, (dimensions, most choices), say how much likelier than others a choice is drawn;
    they are 0 beyond a dimension's last choice. Without them all are alike.
    """

    counts: NDArray[np.intp]
    ordered: NDArray[np.bool_]
    weights: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, space: SearchSpace) -> Choices:
        """Those of a space."""
        return cls(
            np.array(space.cardinalities, dtype=np.intp),
            np.array([dimension.ordered for dimension in space.dimensions]),
        )

    def likelihoods(self, indices: Indices) -> NDArray[np.float64]:
        """The logarithm of the product of each subnet's weights: shape (n,)."""
        if self.weights is None:
            return np.zeros(len(indices))
        here = self.weights[np.arange(len(self.counts)), indices]
        return np.asarray(np.log(here).sum(axis=1))

    def among(self, dimensions: NDArray[np.intp]) -> Choices:
        """Those of some dimensions."""
        weights = None if self.weights is None else self.weights[dimensions]
        return Choices(self.counts[dimensions], self.ordered[dimensions], weights)

    def any_of_each(self, count: int, rng: np.random.Generator) -> Indices:
        """Subnets (count, dimensions) whose choices are drawn by their weights alone."""
        if self.weights is None:
            return np.floor(rng.random((count, len(self.counts))) * self.counts).astype(np.intp)
        return drawn(np.broadcast_to(self.weights, (count, *self.weights.shape)), rng)


def drawn(weights: NDArray[np.float64], rng: np.random.Generator) -> Indices:
    """A place on the last axis of ``weights`` (..., places) for each of the others, by weight."""
    up_to = weights.cumsum(axis=-1)
    total = up_to[..., -1:]
    at = np.minimum(rng.random(total.shape) * total, np.nextafter(total, 0))
    return np.asarray((at >= up_to).sum(axis=-1), dtype=np.intp)


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
    parents: Indices, choices: Choices, rng: np.random.Generator, *, changes: float = 1.0
) -> Indices:
    """Change about ``changes`` dimensions of each parent (n, dimensions), and at least one.

    Half the changes are a step up or down, the other half any choice, as are all where choices have
    no order.
    """
    free = np.flatnonzero(choices.counts > 1)
    if len(free) == 0:
        return parents.copy()
    choices = choices.among(free)
    hit = rng.random((len(parents), len(free))) < changes / len(free)
    hit[np.arange(len(parents)), rng.integers(len(free), size=len(parents))] = True
    steps = parents[:, free] + rng.choice((-1, 1), size=hit.shape)
    anything = choices.any_of_each(len(parents), rng)
    steps_here = (rng.random(hit.shape) < 0.5) & choices.ordered
    new = np.clip(np.where(steps_here, steps, anything), 0, choices.counts - 1)
    children = parents.copy()
    children[:, free] = np.where(hit, new, parents[:, free])
    return children


def neighbours(subnet: NDArray[np.intp], choices: Choices) -> Indices:
    """Every subnet one step away from ``subnet`` (dimensions,): shape (n, dimensions).

    A step leads to the next choice, or to any other one where choices have no order.
    """
    steps = []
    for dimension in np.flatnonzero(choices.counts > 1):
        here = subnet[dimension]
        others = np.delete(np.arange(choices.counts[dimension]), here)
        if choices.ordered[dimension]:
            others = others[np.abs(others - here) == 1]
        for index in others:
            step = subnet.copy()
            step[dimension] = index
            steps.append(step)
    return np.array(steps, dtype=np.intp).reshape(-1, len(subnet))


def random_subnets(count: int, choices: Choices, rng: np.random.Generator) -> Indices:
    """Subnets (count, dimensions) spread from minimal to maximal, most choices extreme ones.

    Each subnet leans to large or small choices by a degree of its own; uniform ones would all cost
    about the average. And the further apart two choices are, the more a measurement tells about
    what lies between them. Choices without an order are uniform. All this is before weights, which
    multiply how likely each choice is.
    """
    if choices.weights is not None:
        return _leaning(count, choices, choices.weights, rng)
    shape = (count, len(choices.counts))
    extreme = np.where(rng.random(shape) < rng.random((count, 1)), choices.counts - 1, 0)
    anything = choices.any_of_each(count, rng)
    leans = (rng.random(shape) < EXTREME) & choices.ordered
    return np.where(leans, extreme, anything)


def _leaning(
    count: int, choices: Choices, weights: NDArray[np.float64], rng: np.random.Generator
) -> Indices:
    """`random_subnets` by weights."""
    place = np.arange(weights.shape[1])
    first, last = place == 0, place == choices.counts[:, None] - 1
    lean = rng.random((count, 1, 1))
    extreme = EXTREME * choices.ordered[:, None] * (lean * last + (1 - lean) * first)
    anything = (1 - EXTREME * choices.ordered) / choices.counts
    return drawn((extreme + anything[:, None]) * weights, rng)


def distinct(indices: Indices) -> Indices:
    """The subnets (n, dimensions) without repeats, in order of their first appearance."""
    first = np.unique(indices, axis=0, return_index=True)[1]
    return indices[np.sort(first)]
