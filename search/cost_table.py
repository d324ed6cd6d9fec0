"""The costs of many subnets at once, as exact as of one.

A cost is a sum of terms that depend on one, two or three dimensions each. Those of the same
dimensions are tabulated together, by `search.cost` itself; a subnet's costs are then sums of table
entries: integers, so nothing is lost.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.costs import Cost, CostModel, Term
from elasticnas.search.activity import Indices
from elasticnas.search.cost import cost_report
from elasticnas.search.space import SearchSpace


class CostTable:
    """Every cost of any subnets of a space, at one sequence length.

    Rows that differ only in dimensions that are not active are one subnet, and cost the same.
    """

    def __init__(self, space: SearchSpace, model: CostModel, max_length: int) -> None:
        self._cardinalities = space.cardinalities
        terms: dict[tuple[int, ...], list[Term]] = defaultdict(list, {(): []})
        for term in model.terms:
            terms[space.activity.decisive(term.dimensions)].append(term)
        for columns in sorted(terms, key=len):  # a larger table has room for a smaller one's
            larger = next((each for each in terms if {*each} > {*columns}), None)
            if larger is not None:
                terms[larger] += terms.pop(columns)
        self._parts = [
            (columns, _tabulate(space, columns, CostModel(terms=tuple(own)), max_length))
            for columns, own in terms.items()
        ]
        # The tables end to end, and how far a choice moves a subnet's place in each of them.
        flat = [table.reshape(-1, len(_COUNTED)) for _, table in self._parts]
        self._entries = np.ascontiguousarray(np.concatenate(flat).T)
        self._starts: NDArray[np.intp] = np.cumsum([0, *(len(each) for each in flat[:-1])])
        self._strides: NDArray[np.float64] = np.zeros((len(space.dimensions), len(self._parts)))
        for position, (columns, table) in enumerate(self._parts):
            for axis, column in enumerate(columns):
                self._strides[column, position] = np.prod(table.shape[axis + 1 : -1])
        self.falls = self._falling()
        self._of_dimension: list[list[int]] = [
            [p for p, (columns, _) in enumerate(self._parts) if dimension in columns]
            for dimension in range(len(space.dimensions))
        ]

    def _falling(self) -> NDArray[np.bool_]:
        """For each dimension whether no cost rises with any step to a later choice: (dimensions,).

        A step of which one part rises and another falls by as much or more counts as rising.
        """
        falls = np.ones(len(self._cardinalities), dtype=bool)
        for columns, table in self._parts:
            for axis, column in enumerate(columns):
                falls[column] &= bool(np.all(np.diff(table, axis=axis) <= 0))
        return falls

    def largest(self, costs: Iterable[Cost]) -> NDArray[np.float64]:
        """What no subnet costs more than: shape (number of costs,). Exact where costs fall."""
        axes = [table.reshape(-1, len(_COUNTED)).max(axis=0) for _, table in self._parts]
        return self.named(np.sum(axes, axis=0), costs)

    def of(self, indices: Indices, costs: Iterable[Cost]) -> NDArray[np.float64]:
        """The named costs of subnets (n, dimensions): shape (n, number of costs)."""
        places = self._places(indices)
        return np.stack([self._summed(places, cost) for cost in costs], axis=1)

    def counted(self, indices: Indices) -> NDArray[np.float64]:
        """All that is counted of subnets (n, dimensions): shape (n, counted), see `named`."""
        places = self._places(indices)
        return np.stack([self._summed(places, cost) for cost in _COUNTED], axis=1)

    def counted_by_choice(self, indices: Indices, dimension: int) -> NDArray[np.float64]:
        """What depends on one dimension, at each of its choices: shape (n, choices, counted).

        The other dimensions are as in ``indices`` (n, dimensions); the parts of the cost that this
        dimension has no part in are left out.
        """
        choices = np.arange(self._cardinalities[dimension])[None, :]
        total = np.zeros((len(indices), choices.shape[1], len(_COUNTED)))
        for part in self._of_dimension[dimension]:
            columns, table = self._parts[part]
            total += table[
                tuple(choices if c == dimension else indices[:, c, None] for c in columns)
            ]
        return total

    def named(self, counted: NDArray[np.float64], costs: Iterable[Cost]) -> NDArray[np.float64]:
        """The named costs among what was counted (..., counted): shape (..., number of costs)."""
        values: dict[Cost, NDArray[np.float64]] = {
            cost: counted[..., position] for position, cost in enumerate(_COUNTED)
        }
        values[Cost.GFLOPS] = values[Cost.TORCH_FLOPS] / 2 / 1e9
        return np.stack([values[cost] for cost in costs], axis=-1)

    def _places(self, indices: Indices) -> NDArray[np.intp]:
        """Where each part of subnets (n, dimensions) is tabulated: shape (n, parts)."""
        return np.asarray((indices @ self._strides).astype(np.intp) + self._starts)

    def _summed(self, places: NDArray[np.intp], cost: Cost) -> NDArray[np.float64]:
        """One cost of subnets with these ``places`` (n, parts): shape (n,)."""
        if cost is Cost.GFLOPS:
            return np.asarray(self._summed(places, Cost.TORCH_FLOPS) / 2 / 1e9)
        return np.asarray(self._entries[_COUNTED.index(cost)].take(places).sum(axis=1))


_COUNTED: tuple[Cost, ...] = tuple(cost for cost in Cost if cost is not Cost.GFLOPS)
"""The costs that are whole numbers; GFLOPs are half the counted operations."""


def _tabulate(
    space: SearchSpace, columns: tuple[int, ...], part: CostModel, max_length: int
) -> NDArray[np.float64]:
    """What ``part`` costs at every choice of its dimensions: (choices..., counted costs)."""
    if not columns:
        anywhere = cost_report(part, space.maximal, max_length).values()
        return np.array([anywhere[cost.value] for cost in _COUNTED], dtype=np.float64)
    own = SearchSpace(tuple(space.dimensions[column] for column in columns))
    table = np.empty((*own.cardinalities, len(_COUNTED)))
    for indices in itertools.product(*(range(count) for count in own.cardinalities)):
        values = cost_report(part, own.decode(indices), max_length).values()
        table[indices] = [values[cost.value] for cost in _COUNTED]
    return table
