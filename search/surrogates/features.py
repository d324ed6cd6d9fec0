"""Subnets as numbers that a regression can learn from."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.fields import Choice
from elasticnas.search.activity import Indices
from elasticnas.search.space import SearchSpace

Features = NDArray[np.float64]


class Encoding:
    """The features of a space's subnets, each centred on the middle of its range.

    Each dimension's own. Where choices are ordered: one column per step between neighbouring
    choices, on when the subnet has at least the larger of the two, scaled by the square root of the
    step's share of the dimension's range. A prior that is the same for every column is then a
    random walk over each dimension's choices: any course is possible, and near choices are alike.
    Where they are not: one column per choice, on when the subnet has it, so that any two are as far
    apart as the ends of a range.

    Shared: for each part that dimensions cut (heads, FFN neurons, ranks, ...) the mean share of its
    range that the subnet keeps, and its square; and where several dimensions of a part have the
    same choices without an order, the share of them that has each choice. What all layers have in
    common is learned from these long before each layer's own effect can be.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._dimensions = len(space.dimensions)
        ranges: dict[str, list[int]] = defaultdict(list)
        self._shares: list[NDArray[np.float64]] = []
        self._own: list[tuple[int, NDArray[np.float64]]] = []
        self._ordered: list[int] = []
        self._activity = space.activity
        alike: dict[tuple[str, tuple[Choice, ...]], list[int]] = defaultdict(list)
        for position, dimension in enumerate(space.dimensions):
            count = len(dimension.choices)
            if count == 1:
                continue
            if not dimension.ordered:
                alike[dimension.part, dimension.choices].append(position)
                self._own.append((position, (np.eye(count) - 1 / count) * np.sqrt(0.5)))
                continue
            choices = np.array(dimension.amounts or range(count, 0, -1), dtype=np.float64)
            ranges[dimension.part].append(len(self._ordered))
            self._ordered.append(position)
            share = (choices - choices[-1]) / (choices[0] - choices[-1])
            reached = np.arange(count)[:, None] <= np.arange(count - 1)[None, :]
            self._shares.append(share)
            self._own.append((position, (reached - 0.5) * np.sqrt(-np.diff(share))))
        self._parts = list(ranges.values())
        self._alike = [(there, len(key[1])) for key, there in alike.items() if len(there) > 1]

    def own(self, indices: Indices) -> Features:
        """The columns of each dimension of subnets (n, dimensions): shape (n, columns)."""
        if not self._own:
            return np.zeros((len(indices), 1))
        return np.concatenate([table[indices[:, c]] for c, table in self._own], axis=1)

    def nearest(self, points: Features) -> Indices:
        """The subnets whose `own` columns are the nearest to points (n, columns)."""
        found = np.zeros((len(points), self._dimensions), dtype=np.intp)
        start = 0
        for position, table in self._own:
            there = points[:, None, start : start + table.shape[1]]
            found[:, position] = np.argmin(((there - table) ** 2).sum(axis=2), axis=1)
            start += table.shape[1]
        return found

    def shared(self, indices: Indices) -> Features:
        """Of each part, the mean share of ordered choices and its square, and unordered shares.

        Shape (n, 2 * parts with an order + choices without).
        """
        columns = [self._means(indices)] if self._parts else []
        if self._alike:
            active = self._activity.of(indices)
            for positions, count in self._alike:
                taken = indices[:, positions, None] == np.arange(count)
                taken &= active[:, positions, None]
                columns.append(taken.mean(axis=1) - 1 / count)
        return np.concatenate(columns, axis=1) if columns else np.zeros((len(indices), 1))

    def _means(self, indices: Indices) -> Features:
        shares = np.stack(
            [s[indices[:, c]] for s, c in zip(self._shares, self._ordered, strict=True)], axis=1
        )
        means = np.stack([shares[:, part].mean(axis=1) for part in self._parts], axis=1)
        return np.concatenate([means - 0.5, means**2 - 1 / 3], axis=1)

    def all(self, indices: Indices) -> Features:
        """Both, each dimension's own scaled so that either part spans a range of about one."""
        own = self.own(indices) / np.sqrt(max(len(self._own), 1))
        return np.concatenate([own, self.shared(indices)], axis=1)
