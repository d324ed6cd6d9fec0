"""What a strategy has been told, as the arrays that regressions and selections work on."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from elasticnas.search.activity import Indices
from elasticnas.search.pareto import Losses
from elasticnas.search.space import SearchSpace, SubnetConfig


class History:
    """Evaluations begun and told, in order of their numbers.

    It remembers how much had been told when each evaluation began. A proposal may depend on that,
    because it is the same after a rebuild; it must not depend on when it was asked for.
    """

    def __init__(self, space: SearchSpace, objectives: int) -> None:
        self._space = space
        self._begun = np.empty((64, len(space.dimensions)), dtype=np.intp)
        self._losses = np.empty((64, objectives))
        self._failed = np.zeros(64, dtype=bool)
        self._told_at: list[int] = []
        self._first: dict[bytes, int] = {}
        self.told = 0

    @property
    def begun(self) -> int:
        """How many evaluations have begun."""
        return len(self._told_at)

    def begin(self, number: int, subnet: SubnetConfig) -> None:
        """See `Strategy.begin`."""
        assert number == self.begun
        if number == len(self._begun):
            self._begun = np.concatenate([self._begun, np.empty_like(self._begun)])
            self._losses = np.concatenate([self._losses, np.empty_like(self._losses)])
            self._failed = np.concatenate([self._failed, np.zeros_like(self._failed)])
        self._begun[number] = self._space.encode(subnet)
        self._first.setdefault(key(self._begun[number]), number)
        self._told_at.append(self.told)

    def tell(self, number: int, losses: Losses, *, failed: bool) -> None:
        """See `Strategy.tell`."""
        assert number == self.told
        self._losses[number] = losses
        self._failed[number] = failed
        self.told += 1

    def told_before(self, number: int) -> int:
        """How many evaluations had been told when ``number`` began, or now if it has not."""
        return self._told_at[number] if number < self.begun else self.told

    def numbers(self, told: int) -> NDArray[np.intp]:
        """The evaluations among the first ``told`` that did not fail."""
        return np.flatnonzero(~self._failed[:told])

    def measured(self, told: int) -> tuple[Indices, Losses]:
        """The subnets and losses of those `numbers`."""
        numbers = self.numbers(told)
        return self._begun[numbers], self._losses[numbers]

    def subnet(self, number: int) -> NDArray[np.intp]:
        """The choice indices of one evaluation."""
        row: NDArray[np.intp] = self._begun[number]
        return row

    def in_flight(self, told: int, begun: int) -> Indices:
        """The evaluations from ``told`` on that had begun when ``begun`` of them had."""
        return self._begun[told:begun]

    def is_unseen(self, indices: Indices, *, before: int | None = None) -> NDArray[np.bool_]:
        """Which subnets (n, dimensions) have not begun, or not before this number: shape (n,)."""
        end = self.begun if before is None else before
        return np.array([self._first.get(key(row), end) >= end for row in indices], dtype=bool)

    def admit(self, fresh: Indices, known: set[bytes], *, before: int) -> Indices:
        """Those that had not begun before this number and are not ``known``, which they join."""
        fresh = fresh[self.is_unseen(fresh, before=before)]
        fresh = fresh[np.array([key(row) not in known for row in fresh], dtype=bool)]
        known.update(key(row) for row in fresh)
        return fresh


def key(row: NDArray[np.intp]) -> bytes:
    """Equal for equal subnets (dimensions,)."""
    return row.tobytes()


def generator(seed: int, number: int, purpose: str) -> np.random.Generator:
    """Randomness for one decision, independent of the process and of Python's hash seed."""
    digest = hashlib.sha256(f"{seed}/{number}/{purpose}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
