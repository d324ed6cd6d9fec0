"""Conditional dimensions: which dimensions of a subnet make a difference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.spaces import Condition, Dimension

Indices = NDArray[np.intp]
"""Subnets as rows of choice indices, shape (n, dimensions)."""


@dataclass(frozen=True)
class Activity:
    """Which of these dimensions are active.

    Raises:
        InputError: a condition names no dimension or no choice of it, or conditions go in a circle.
    """

    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        _ = self._needs  # a wrong condition is said at once
        for position in set(range(len(self.dimensions))) - set(self._order):
            raise InputError(
                "the conditions under which this dimension is active go in a circle",
                field="dimensions",
                value=self.dimensions[position].name,
            )

    @property
    def is_conditional(self) -> bool:
        """False where every dimension is always active."""
        return any(self._needs)

    def is_parent(self, position: int) -> bool:
        """Whether another dimension's being active depends on this one."""
        return bool(self._children[position])

    def of(self, indices: Indices) -> NDArray[np.bool_]:
        """Which dimensions of subnets (n, dimensions) are active: the same shape."""
        active = np.ones(indices.shape, dtype=bool)
        for position in self._order:
            for other, allowed in self._needs[position]:
                holds = active[:, other] & np.isin(indices[:, other], allowed)
                active[:, position] &= holds
        return active

    def canonical(self, indices: Indices) -> Indices:
        """The same subnets (n, dimensions), with the first choice where a dimension is inactive."""
        return np.where(self.of(indices), indices, 0) if self.is_conditional else indices

    def decisive(self, names: Iterable[str]) -> tuple[int, ...]:
        """The positions of these dimensions, and of all that decide whether they are active."""
        waiting = [i for i, each in enumerate(self.dimensions) if each.name in set(names)]
        found: set[int] = set()
        while waiting:
            found.add(position := waiting.pop())
            waiting += [other for other, _ in self._needs[position]]
        return tuple(sorted(found))

    def count(self) -> int:
        """The number of distinct subnets.

        Dimension by dimension, counted are the subnets so far by the choices that conditions of
        dimensions to come ask for: few, as a dimension's dependants come right behind it.
        """
        counts: dict[tuple[tuple[int, int], ...], int] = {(): 1}
        for place, position in enumerate(self._order):
            asked = {o for later in self._order[place + 1 :] for o, _ in self._needs[later]}
            longer: dict[tuple[tuple[int, int], ...], int] = defaultdict(int)
            for chosen, count in counts.items():
                made = dict(chosen)
                active = all(made.get(other) in allowed for other, allowed in self._needs[position])
                for choice in range(len(self.dimensions[position].choices)) if active else (None,):
                    kept = made if choice is None else {**made, position: choice}
                    longer[tuple((p, c) for p, c in kept.items() if p in asked)] += count
            counts = longer
        return sum(counts.values())

    @cached_property
    def _needs(self) -> list[list[tuple[int, tuple[int, ...]]]]:
        """The conditions of each dimension: another's position, and the indices that it allows."""
        places = {dimension.name: i for i, dimension in enumerate(self.dimensions)}
        return [
            [self._need(condition, dimension, places) for condition in dimension.active_when]
            for dimension in self.dimensions
        ]

    def _need(
        self, condition: Condition, dimension: Dimension, places: dict[str, int]
    ) -> tuple[int, tuple[int, ...]]:
        place = places.get(condition.dimension)
        choices: Sequence[object] = () if place is None else self.dimensions[place].choices
        if place is None or not set(condition.choices) <= set(choices):
            raise InputError(
                "a dimension is active when another one has one of its choices, and there is no "
                "such dimension or choice",
                field=f"dimensions/{dimension.name}/active_when",
                value=f"{condition.dimension}: {list(condition.choices)}",
            )
        return place, tuple(choices.index(choice) for choice in condition.choices)

    @cached_property
    def _children(self) -> list[list[int]]:
        children: list[list[int]] = [[] for _ in self.dimensions]
        for position, needs in enumerate(self._needs):
            for other, _ in needs:
                children[other].append(position)
        return children

    @cached_property
    def _order(self) -> list[int]:
        """Every dimension behind the ones that its conditions name, and next to its dependants."""
        order: dict[int, None] = {}
        waiting = list(reversed(range(len(self.dimensions))))
        while waiting:
            position = waiting.pop()
            if position not in order and all(other in order for other, _ in self._needs[position]):
                order[position] = None
                waiting.extend(reversed(self._children[position]))
        return list(order)
