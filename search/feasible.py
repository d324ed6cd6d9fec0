"""What the constraints of a search leave of its space: the dearest of it, and uniform draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.searches import Constraint
from elasticnas.search.admission import ENUMERABLE
from elasticnas.search.cost_table import CostTable, Indices
from elasticnas.search.objectives import REFERENCE_MARGIN, Objectives
from elasticnas.search.space import SearchSpace

SWEEPS = 25
"""How often a chain of Gibbs sampling goes through all dimensions before its state is a draw."""

TRIES = 4096
"""Uniform subnets among which feasible ones are looked for before Gibbs sampling."""

CLIMBERS = 64
ROUNDS = 8


class Feasible:
    """The subnets of a space that satisfy every constraint; the minimal one must.

    ``table`` says what subnets cost.
    """

    def __init__(
        self, space: SearchSpace, table: CostTable, constraints: Sequence[Constraint]
    ) -> None:
        self._space = space
        self._table = table
        self._costs = [constraint.cost for constraint in constraints]
        self._bounds = np.array([constraint.max for constraint in constraints])

    @property
    def is_everything(self) -> bool:
        """True when the maximal subnet is feasible, and with it all others."""
        return bool(self.mask(np.zeros((1, len(self._space.dimensions)), dtype=np.intp))[0])

    def cheapest(self, cost: Cost) -> float:
        """The minimal subnet's cost: costs fall with every choice."""
        return float(self._table.of(self._minimal(1), [cost])[0, 0])

    def mask(self, indices: Indices) -> NDArray[np.bool_]:
        """Which subnets (n, dimensions) are feasible: shape (n,)."""
        if not self._costs:
            return np.ones(len(indices), dtype=bool)
        return np.asarray(np.all(self._table.of(indices, self._costs) <= self._bounds, axis=-1))

    def dearest(self, cost: Cost) -> float:
        """The largest cost that a feasible subnet has.

        Exact in a space that is small enough to walk through. In a larger one it is the largest
        that a climb finds: subnets are disturbed at random, then each dimension takes the largest
        choice that the others leave room for. The climb is the same each time.
        """
        if (everything := self._everything) is not None:
            return float(self._table.of(everything, [cost]).max())
        rng = np.random.default_rng(0)
        best = self._minimal(CLIMBERS)
        for round_ in range(ROUNDS):
            shaken = self._swept(best, rng, share=1.0 if round_ == 0 else 0.2)
            grown = self._swept(shaken, rng, largest=True)
            both = np.concatenate([best, grown])
            value = self._table.of(both, [cost])[:, 0]
            best = both[np.argsort(-value, kind="stable")[:CLIMBERS]]
        return float(self._table.of(best[:1], [cost])[0, 0])

    def draws(self, count: int, rng: np.random.Generator) -> Indices:
        """Independent subnets (count, dimensions), each feasible one as likely as any other.

        Exactly so in a space that is small enough to walk through, and where as many feasible ones
        are found among `TRIES` uniform ones. Else by Gibbs sampling: from the minimal subnet on
        every dimension takes, `SWEEPS` times, any choice that the others leave room for. That
        comes close to uniform, and reaches it in the limit of many sweeps.
        """
        if (everything := self._everything) is not None:
            rows: Indices = everything[rng.integers(len(everything), size=count)]
            return rows
        cards = np.array(self._space.cardinalities)
        drawn = np.floor(rng.random((TRIES, len(cards))) * cards).astype(np.intp)
        found: Indices = drawn[self.mask(drawn)]
        if len(found) >= count:
            return found[:count]
        chains = self._minimal(count)
        for _ in range(SWEEPS):
            chains = self._swept(chains, rng)
        return chains

    @cached_property
    def _everything(self) -> Indices | None:
        """All feasible subnets (n, dimensions); None when the space is too large for that."""
        if self._space.size > ENUMERABLE:
            return None
        axes = np.indices(self._space.cardinalities)
        everything = np.stack([axis.ravel() for axis in axes], axis=1).astype(np.intp)
        feasible: Indices = everything[self.mask(everything)]
        return feasible

    def _minimal(self, count: int) -> Indices:
        smallest = np.array(self._space.cardinalities, dtype=np.intp) - 1
        return np.tile(smallest, (count, 1))

    def _within(self, counted: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether what was counted (..., counted) satisfies the constraints: shape (...)."""
        return np.asarray(np.all(self._table.named(counted, self._costs) <= self._bounds, axis=-1))

    def _swept(
        self,
        indices: Indices,
        rng: np.random.Generator,
        *,
        share: float = 1.0,
        largest: bool = False,
    ) -> Indices:
        """Feasible subnets after a sweep over the dimensions in random order.

        A ``share`` of the dimensions of each takes a random one of the choices that keep it
        feasible, or the ``largest``.
        """
        swept = indices.copy()
        rows = np.arange(len(swept))
        total = self._table.counted(swept)
        for dimension in rng.permutation(swept.shape[1]):
            own = self._table.counted_by_choice(swept, dimension)
            if own.shape[1] == 1:
                continue
            others = total - own[rows, swept[:, dimension]]
            possible = self._within(others[:, None, :] + own)
            preference = -np.arange(own.shape[1]) if largest else rng.random(possible.shape)
            choice = np.argmax(np.where(possible, preference, -np.inf), axis=1)
            moved = rng.random(len(swept)) < share
            swept[:, dimension] = np.where(moved, choice, swept[:, dimension])
            total = others + own[rows, swept[:, dimension]]
        return swept


def with_references(objectives: Objectives, feasible: Feasible) -> Objectives:
    """The objectives of a search over these subnets, unless their references are given already.

    A reference lies a tenth of the feasible span, from the cheapest to the dearest feasible cost,
    beyond the dearest: so no bound, however tight, lets the margin outweigh the span. It depends on
    the space and the constraints alone. Where the maximal subnet is feasible, nothing changes.
    """
    if objectives.references is not None:
        return objectives
    references: dict[str, float] = {}
    if not feasible.is_everything:
        for name in objectives.costs:
            dearest = feasible.dearest(name)
            span = dearest - feasible.cheapest(name)
            # Where all that is feasible costs the same, only the other objectives are left.
            margin = REFERENCE_MARGIN * (span or dearest)
            references[name.value] = dearest + margin
    return replace(objectives, references=references)
