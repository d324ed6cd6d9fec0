"""Transformer2vec: subnets as points whose distances are those of their layer sequences."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from elasticnas.search import evolution
from elasticnas.search.activity import Indices
from elasticnas.search.evolution import Choices
from elasticnas.search.space import SearchSpace
from elasticnas.search.surrogates.features import Features
from elasticnas.search.surrogates.layer_sequences import LayerSequences

LANDMARKS = 128
COORDINATES = 16
LIBRARY = 1024
"""Subnets among which a point's nearest is looked for first."""
MOVES = 2
"""Rounds of one-dimension moves that bring the nearest nearer."""
REMEMBERED = 16_384


class Transformer2vec:
    """Points for a space's subnets (Tuli et al. 2023, section 3.2), without a training.

    The publication learns a free vector for each model, from a hundredth of all distances, so a new
    model needs a new training. Here 128 landmarks, random subnets that are the same each time, are
    placed by classical scaling of their edit distances (Torgerson 1952), and any other subnet by
    its distances from them (de Silva & Tenenbaum 2004, "Sparse multidimensional scaling using
    landmark points"): which is where a landmark itself already stands.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._sequences = LayerSequences(space)
        self._choices = Choices.of(space)
        self._known: dict[bytes, NDArray[np.float64]] = {}
        self.landmarks = self._random(LANDMARKS)
        squared = self._sequences.distance(self.landmarks, self.landmarks) ** 2
        self._mean = squared.mean(axis=0)
        self._placed_by = placing(squared)

    def own(self, indices: Indices) -> Features:
        """The points of subnets (n, dimensions): shape (n, at most 16)."""
        if len(self._known) > REMEMBERED:
            self._known.clear()
        keys = [row.tobytes() for row in indices]
        new = {key: row for key, row in zip(keys, indices, strict=True) if key not in self._known}
        if new:
            rows = np.array(list(new.values()))
            squared = self._sequences.distance(rows, self.landmarks) ** 2
            # Not by BLAS, and rounded: a point must not depend on those that it is placed beside.
            points = np.einsum("nm,mk->nk", squared - self._mean, self._placed_by)
            self._known.update(zip(new, np.round(points, 9), strict=True))
        return np.array([self._known[key] for key in keys]).reshape(len(keys), -1)

    def nearest(self, points: Features) -> Indices:
        """Subnets near the points (n, coordinates).

        The nearest of a library of random subnets, which is the same each time, and from there on
        moves of one dimension, as long as they lead nearer.
        """
        subnets, places = self._library
        return np.array(
            [self._nearer(subnets[_nearest(places, point)], point) for point in points]
        ).reshape(-1, subnets.shape[1])

    def _nearer(self, subnet: NDArray[np.intp], point: NDArray[np.float64]) -> NDArray[np.intp]:
        for _ in range(MOVES):
            around = self._around(subnet)
            moved = around[_nearest(self.own(around), point)]
            if (moved == subnet).all():
                break
            subnet = moved
        return subnet

    def _around(self, subnet: NDArray[np.intp]) -> Indices:
        moved = np.concatenate([subnet[None], evolution.neighbours(subnet, self._choices)])
        return self._space.activity.canonical(moved)

    @cached_property
    def _library(self) -> tuple[Indices, Features]:
        """Subnets and their points."""
        subnets = np.concatenate([self.landmarks, self._random(LIBRARY)])
        return subnets, self.own(subnets)

    def _random(self, count: int) -> Indices:
        """Uniform subnets, and the maximal and minimal ones: distinct, so maybe fewer."""
        rng = np.random.default_rng(count)
        counts = self._choices.counts
        drawn = np.floor(rng.random((count, len(counts))) * counts).astype(np.intp)
        drawn = np.concatenate([np.zeros_like(drawn[:1]), counts[None] - 1, drawn[2:]])
        return evolution.distinct(self._space.activity.canonical(drawn))


def _nearest(places: Features, point: NDArray[np.float64]) -> int:
    """The position of the first of the nearest places (n, coordinates) to a point."""
    return int(np.argmin(((places - point) ** 2).sum(axis=1)))


def placing(squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """What maps squared distances from landmarks, less their means, to coordinates.

    Of squared distances (m, m) among them: shape (m, k), k the number of coordinates that are real,
    and one at least. Coordinates are scaled together: the widest has a deviation of one.
    """
    centred = squared - squared.mean(axis=0)
    centred = -0.5 * (centred - centred.mean(axis=1, keepdims=True))
    values, vectors = np.linalg.eigh(centred)
    largest = values.argsort()[::-1][:COORDINATES]
    kept = largest[values[largest] > 1e-9 * max(values.max(), 1e-9)]
    if len(kept) == 0:
        return np.zeros((len(squared), 1))
    scale = np.sqrt(values[kept[0]] / len(squared))
    return np.asarray(-0.5 * vectors[:, kept] / np.sqrt(values[kept]) / scale)
