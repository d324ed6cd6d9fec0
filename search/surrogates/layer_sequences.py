"""Subnets as sequences of layers, and the edit distance between any two of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from elasticnas.api_schemas.fields import Choice
from elasticnas.api_schemas.model_dicts import KINDS
from elasticnas.api_schemas.spaces import BLOCKS, FFN, FFN_LAYERS, OPERATION, Dimension
from elasticnas.search.activity import Indices
from elasticnas.search.space import SearchSpace

Array = NDArray[np.float64]

Stack = tuple[int, NDArray[np.intp]]
"""A dimension, and of how many layers a stack is at each of its choices."""


@dataclass(frozen=True)
class _Piece:
    """What one dimension adds to the vectors of its layer, or of all layers if it has none."""

    dimension: int
    layer: int | None
    columns: list[int]
    values: Array
    """Of each choice: shape (choices, columns)."""
    stack: Stack | None = None
    """Where it stands how many of the columns there are."""

    def of(self, indices: Indices, active: NDArray[np.bool_]) -> Array:
        """For subnets (n, dimensions): shape (n, columns)."""
        values = self.values[indices[:, self.dimension]] * active[:, [self.dimension]]
        if self.stack is None:
            return values
        position, counts = self.stack
        deep = counts[indices[:, position]]
        return np.asarray(values * (np.arange(len(self.columns)) < deep[:, None]))


class LayerSequences:
    """Layers of a space's subnets as vectors; the distance of two layers is the sum of differences.

    - operations differ by 0 if they are the same, by 1 if they are of one kind, else by 2;
    - amounts by their binary logarithms, the smallest choice counting as 1 more than none;
    - stacks of feed-forward layers by their widths, one layer after the other;
    - ordered choices that are no numbers by the steps between them; any others by 1.

    To put a layer in, or to leave it out, costs its distance from a layer that has nothing. A
    dimension of no layer, such as one hidden size for all, is a part of every layer, but for one
    that other dimensions depend on to say how many layers there are. A layer without an active
    dimension is not there.

    FlexiBERT (Tuli et al. 2023, section 3.1) takes the graph edit distance. All of its graphs are
    chains of layers, whose edit distance dynamic programming finds exactly, in L ** 2 steps.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._activity = space.activity
        layers = sorted({each.layer for each in space.dimensions if each.layer is not None})
        self._places = {layer: place for place, layer in enumerate(layers)}
        self._length = max(len(layers), 1)
        self._pieces, self._width = _pieces(space)

    def vectors(self, indices: Indices) -> Array:
        """The layers of subnets (n, dimensions), zeros for one that is not there.

        Shape (n, layers, columns).
        """
        indices = self._activity.canonical(indices)
        active = self._activity.of(indices)
        found = np.zeros((len(indices), self._length, self._width))
        there = np.full((len(indices), self._length), not self._places)
        for piece in self._pieces:
            values = piece.of(indices, active)
            if piece.layer is None:
                found[:, :, piece.columns] += values[:, None, :]
            else:
                place = self._places[piece.layer]
                found[:, place, piece.columns] += values
                there[:, place] |= active[:, piece.dimension]
        return np.asarray(found * there[..., None])

    def distance(self, one: Indices, two: Indices) -> Array:
        """The edit distance of every two of subnets (n, dimensions) and (m, dimensions): (n, m).

        Wagner & Fischer 1974, for all pairs at once.
        """
        layers, rows = _distinct(self.vectors(one))
        others, columns = _distinct(self.vectors(two))
        change = cdist(layers, others, "cityblock")
        # A layer that is not there costs nothing to remove, so all sequences are of one length.
        removed, added = layers.sum(axis=1)[rows], others.sum(axis=1)[columns]
        above = np.zeros((self._length + 1, len(one), len(two)))
        above[1:] = np.cumsum(added, axis=1).T[:, None, :]
        for i in range(self._length):
            here = np.empty_like(above)
            here[0] = above[0] + removed[:, i, None]
            for j in range(self._length):
                changed = above[j] + change[rows[:, i, None], columns[None, :, j]]
                left = np.minimum(above[j + 1] + removed[:, i, None], here[j] + added[None, :, j])
                here[j + 1] = np.minimum(changed, left)
            above = here
        return np.asarray(above[-1])


def _distinct(vectors: Array) -> tuple[Array, NDArray[np.intp]]:
    """The distinct layers of (n, layers, columns), and which of them each is: (n, layers)."""
    flat = vectors.reshape(-1, vectors.shape[2])
    found, inverse = np.unique(flat, axis=0, return_inverse=True)
    return found, inverse.reshape(vectors.shape[:2])


def _pieces(space: SearchSpace) -> tuple[list[_Piece], int]:
    """What every dimension adds to the vectors of layers, and how many columns these have."""
    columns: dict[Hashable, int] = {}
    keys = _keys(space)
    pieces = []
    for position, dimension in enumerate(space.dimensions):
        key = keys[position]
        if key is None:
            continue
        alike = [each for each, other in zip(space.dimensions, keys, strict=True) if other == key]
        stack = _stack(space.dimensions, dimension)
        values, own = [], []
        for label, value in _values(dimension, alike).items():
            for place in range(1 if stack is None else int(stack[1].max())):
                values.append(value)
                own.append(columns.setdefault((key, label, place), len(columns)))
        pieces.append(_Piece(position, dimension.layer, own, np.column_stack(values), stack))
    return pieces, len(columns)


def _keys(space: SearchSpace) -> list[Hashable | None]:
    """What of a layer each dimension says, alike in all layers; None for what others say."""
    seen: dict[tuple[int, str], int] = defaultdict(int)
    keys: list[Hashable | None] = []
    for position, dimension in enumerate(space.dimensions):
        if dimension.layer is None:
            counts = dimension.part == BLOCKS and space.activity.is_parent(position)
            keys.append(None if counts else dimension.name)
        elif _says_how_deep(dimension, space.dimensions):
            keys.append(None)
        else:
            keys.append((dimension.part, seen[dimension.layer, dimension.part]))
            seen[dimension.layer, dimension.part] += 1
    return keys


def _stack(dimensions: Sequence[Dimension], width: Dimension) -> Stack | None:
    """Where it stands how many feed-forward layers of this width there are."""
    for position, each in enumerate(dimensions):
        if (width.layer, width.part) == (each.layer, FFN) and _says_how_deep(each, dimensions):
            return position, np.array([int(str(choice)) for choice in each.choices])
    return None


def _says_how_deep(dimension: Dimension, others: Sequence[Dimension]) -> bool:
    """Whether it is the number of feed-forward layers of a width that another dimension says."""
    return (
        dimension.part == FFN_LAYERS
        and dimension.layer is not None
        and all(isinstance(choice, int) for choice in dimension.choices)
        and any((each.layer, each.part) == (dimension.layer, FFN) for each in others)
    )


def _values(dimension: Dimension, alike: Sequence[Dimension]) -> dict[Hashable, Array]:
    """The columns of a dimension: of each, the value at every choice, (choices,)."""
    choices = dimension.choices
    if dimension.amounts is not None:
        least = min(min(each.amounts or (1,)) for each in alike)
        return {"amount": 1 + np.log2(np.array(dimension.amounts) / least)}
    if dimension.ordered:
        return {"step": np.arange(len(choices), 0.0, -1.0)}
    found: dict[Hashable, Array] = {
        ("is", choice): 0.5 * np.array([each == choice for each in choices]) for choice in choices
    }
    if dimension.part == OPERATION:
        kinds = [_kind(choice) for choice in choices]
        for kind in kinds:
            found["kind", kind] = 0.5 * np.array([each == kind for each in kinds])
    return found


def _kind(operation: Choice) -> str:
    """Of a name with a hyphen the part in front of it; any that is not known is its own."""
    name = str(operation)
    return name.split("-")[0] if "-" in name else KINDS.get(name, name)
