"""Subnets as numbers that a regression can learn from."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from elasticnas.search.cost_table import Indices
from elasticnas.search.space import SearchSpace

Features = NDArray[np.float64]


class Encoding:
    """The features of a space's subnets, each centred on the middle of its range.

    Ordinal: one column per step between neighbouring choices, on when the subnet has at least the
    larger of the two, scaled by the square root of the step's share of the dimension's range. A
    prior that is the same for every column is then a random walk over each dimension's choices:
    any course is possible, and near choices are alike.

    Shared: for each kind of dimension (heads, widths, ranks, ...) the mean share of its range that
    the subnet keeps, and its square. What all layers have in common is learned from these long
    before each layer's own effect can be.
    """

    def __init__(self, space: SearchSpace) -> None:
        members: dict[str, list[int]] = defaultdict(list)
        self._columns: list[int] = []
        self._shares: list[NDArray[np.float64]] = []
        self._steps: list[NDArray[np.float64]] = []
        for position, dimension in enumerate(space.dimensions):
            choices = np.array(dimension.choices, dtype=np.float64)
            if len(choices) == 1:
                continue
            members[dimension.kind.value].append(len(self._columns))
            self._columns.append(position)
            share = (choices - choices[-1]) / (choices[0] - choices[-1])
            reached = np.arange(len(choices))[:, None] <= np.arange(len(choices) - 1)[None, :]
            self._shares.append(share)
            self._steps.append((reached - 0.5) * np.sqrt(-np.diff(share)))
        self._members = list(members.values())

    def ordinal(self, indices: Indices) -> Features:
        """The ordinal columns of subnets (n, dimensions): shape (n, steps)."""
        if not self._columns:
            return np.zeros((len(indices), 1))
        steps = [s[indices[:, c]] for s, c in zip(self._steps, self._columns, strict=True)]
        return np.concatenate(steps, axis=1)

    def shared(self, indices: Indices) -> Features:
        """The mean share of each kind of dimension, and its square: shape (n, 2 * kinds)."""
        if not self._columns:
            return np.zeros((len(indices), 1))
        shares = np.stack(
            [s[indices[:, c]] for s, c in zip(self._shares, self._columns, strict=True)], axis=1
        )
        means = np.stack([shares[:, kind].mean(axis=1) for kind in self._members], axis=1)
        return np.concatenate([means - 0.5, means**2 - 1 / 3], axis=1)

    def all(self, indices: Indices) -> Features:
        """Both, the ordinal columns scaled so that either part spans a range of about one."""
        ordinal = self.ordinal(indices) / np.sqrt(max(len(self._columns), 1))
        return np.concatenate([ordinal, self.shared(indices)], axis=1)
