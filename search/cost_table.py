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
from elasticnas.search.cost import UNITS, whole_costs
from elasticnas.search.space import SearchSpace


class CostTable:
    """Every cost of any subnets of a space, at one sequence length.

    Rows that differ only in dimensions that are not active are one subnet, and cost the same.
    """

    def __init__(self, space: SearchSpace, model: CostModel, max_length: int) -> None:
        self._cardinalities = space.cardinalities
        # Operations are twice the multiply-accumulates.
        self._counted = tuple(cost for cost in model.costs if cost is not Cost.TORCH_FLOPS)
        terms: dict[tuple[int, ...], list[Term]] = defaultdict(list, {(): []})
        for term in model.terms:
            terms[space.activity.decisive(term.dimensions)].append(term)
        for columns in sorted(terms, key=len):  # a larger table has room for a smaller one's
            larger = next((each for each in terms if {*each} > {*columns}), None)
            if larger is not None:
                terms[larger] += terms.pop(columns)
        self._parts = [
            (columns, self._tabulated(space, columns, CostModel(terms=tuple(own)), max_length))
            for columns, own in terms.items()
        ]
        # The tables end to end, and how far a choice moves a subnet's place in each of them.
        flat = [table.reshape(-1, len(self._counted)) for _, table in self._parts]
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
        axes = [table.reshape(-1, len(self._counted)).max(axis=0) for _, table in self._parts]
        return self.named(np.sum(axes, axis=0), costs)

    def of(self, indices: Indices, costs: Iterable[Cost]) -> NDArray[np.float64]:
        """The named costs of subnets (n, dimensions): shape (n, number of costs)."""
        places = self._places(indices)
        return np.stack(
            [_in_units(self._sums(places, self._column(cost)), cost) for cost in costs], axis=1
        )

    def counted(self, indices: Indices) -> NDArray[np.float64]:
        """All that is counted of subnets (n, dimensions): shape (n, counted), see `named`."""
        places = self._places(indices)
        return np.stack([self._sums(places, c) for c in range(len(self._counted))], axis=1)

    def counted_by_choice(self, indices: Indices, dimension: int) -> NDArray[np.float64]:
        """What depends on one dimension, at each of its choices: shape (n, choices, counted).

        The other dimensions are as in ``indices`` (n, dimensions); the parts of the cost that this
        dimension has no part in are left out.
        """
        choices = np.arange(self._cardinalities[dimension])[None, :]
        total = np.zeros((len(indices), choices.shape[1], len(self._counted)))
        for part in self._of_dimension[dimension]:
            columns, table = self._parts[part]
            total += table[
                tuple(choices if c == dimension else indices[:, c, None] for c in columns)
            ]
        return total

    def named(self, counted: NDArray[np.float64], costs: Iterable[Cost]) -> NDArray[np.float64]:
        """The named costs among what was counted (..., counted): shape (..., number of costs)."""
        return np.stack(
            [_in_units(counted[..., self._column(cost)], cost) for cost in costs], axis=-1
        )

    def _column(self, cost: Cost) -> int:
        return self._counted.index(Cost.GFLOPS if cost is Cost.TORCH_FLOPS else cost)

    def _places(self, indices: Indices) -> NDArray[np.intp]:
        """Where each part of subnets (n, dimensions) is tabulated: shape (n, parts)."""
        return np.asarray((indices @ self._strides).astype(np.intp) + self._starts)

    def _sums(self, places: NDArray[np.intp], column: int) -> NDArray[np.float64]:
        """What is counted of subnets with these ``places`` (n, parts): shape (n,)."""
        return np.asarray(self._entries[column].take(places).sum(axis=1))

    def _tabulated(
        self, space: SearchSpace, columns: tuple[int, ...], part: CostModel, max_length: int
    ) -> NDArray[np.float64]:
        """What ``part`` counts at every choice of its dimensions: (choices..., counted)."""
        if not columns:
            anywhere = whole_costs(part, space.maximal, max_length)
            return np.array([anywhere[cost] for cost in self._counted], dtype=np.float64)
        own = SearchSpace(tuple(space.dimensions[column] for column in columns))
        table = np.empty((*own.cardinalities, len(self._counted)))
        for indices in itertools.product(*(range(count) for count in own.cardinalities)):
            values = whole_costs(part, own.decode(indices), max_length)
            table[indices] = [values[cost] for cost in self._counted]
        return table


def _in_units(counted: NDArray[np.float64], cost: Cost) -> NDArray[np.float64]:
    """What is counted as the cost itself."""
    if cost is Cost.TORCH_FLOPS:
        return np.asarray(2 * counted)
    return np.asarray(counted / UNITS[cost]) if cost in UNITS else counted
