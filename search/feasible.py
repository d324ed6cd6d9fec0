"""What the constraints of a search leave of its space: the dearest of it, and uniform draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.searches import Constraint
from elasticnas.search.activity import Indices
from elasticnas.search.cost_table import CostTable
from elasticnas.search.evolution import Choices
from elasticnas.search.objectives import REFERENCE_MARGIN, Objectives
from elasticnas.search.space import SearchSpace

SWEEPS = 25
"""How often a chain of Gibbs sampling goes through all dimensions before its state is a draw."""

TRIES = 4096
"""Uniform subnets among which feasible ones are looked for before Gibbs sampling."""

CLIMBERS = 64
ROUNDS = 8


class Feasible:
    """The subnets of a space that satisfy every constraint.

    ``table`` says what subnets cost. Where all costs fall with every step to a later choice, the
    maximal subnet is the dearest and the minimal one the cheapest. Elsewhere the ends are looked
    for: exactly in a space that is small enough to walk through, else by climbing.
    """

    def __init__(
        self, space: SearchSpace, table: CostTable, constraints: Sequence[Constraint]
    ) -> None:
        self._space = space
        self._table = table
        self._costs = [constraint.cost for constraint in constraints]
        self._bounds = np.array([constraint.max for constraint in constraints])

    @cached_property
    def shrinks(self) -> NDArray[np.bool_]:
        """Which dimensions make a subnet cheaper, or no dearer, with each step: (dimensions,)."""
        choices = Choices.of(self._space)
        return np.asarray((choices.ordered & self._table.falls) | (choices.counts == 1))

    @cached_property
    def is_monotone(self) -> bool:
        """Whether every dimension does."""
        return bool(self.shrinks.all())

    @property
    def unconstrained(self) -> Feasible:
        """The same space without constraints."""
        return Feasible(self._space, self._table, ())

    @cached_property
    def is_empty(self) -> bool:
        """True when no subnet is feasible; where costs do not fall, when none was found."""
        return len(self._chains(1)) == 0

    @property
    def is_everything(self) -> bool:
        """True when no subnet can break a constraint."""
        return not self._costs or bool(np.all(self._table.largest(self._costs) <= self._bounds))

    def cheapest(self, cost: Cost) -> float:
        """The smallest cost that a feasible subnet has, as far as `dearest` is the largest."""
        if self.is_monotone:
            return float(self._table.of(self._minimal(1), [cost])[0, 0])
        return self._extreme(cost, -1)

    def mask(self, indices: Indices) -> NDArray[np.bool_]:
        """Which subnets (n, dimensions) are feasible: shape (n,)."""
        if not self._costs:
            return np.ones(len(indices), dtype=bool)
        return np.asarray(np.all(self._table.of(indices, self._costs) <= self._bounds, axis=-1))

    def dearest(self, cost: Cost) -> float:
        """The largest cost that a feasible subnet has.

        Without constraints, and where all costs fall, it is the maximal subnet's.

        Exact in a space that is small enough to walk through. In a larger one it is the largest
        that a climb finds: subnets are disturbed at random, then each dimension takes the dearest
        choice that the others leave room for. The climb is the same each time.
        """
        if self.is_monotone and not self._costs:
            return float(self._table.of(np.zeros_like(self._minimal(1)), [cost])[0, 0])
        return self._extreme(cost, 1)

    def _extreme(self, cost: Cost, sign: Literal[1, -1]) -> float:
        """The largest cost of a feasible subnet, or with a sign of -1 the smallest."""
        if (everything := self._everything) is not None:
            return float(sign * (sign * self._table.of(everything, [cost])).max())

        def towards(own: NDArray[np.float64]) -> NDArray[np.float64]:
            if self.is_monotone:  # also a choice that does not cost any of this makes way
                return -sign * np.arange(own.shape[1], dtype=np.float64)
            return np.asarray(sign * self._table.named(own, [cost])[..., 0])

        rng = np.random.default_rng(0)
        best = self._chains(CLIMBERS)
        for round_ in range(ROUNDS):
            shaken = self._swept(best, rng, share=1.0 if round_ == 0 else 0.2)
            grown = self._swept(shaken, rng, towards=towards)
            both = np.concatenate([best, grown])
            value = sign * self._table.of(both, [cost])[:, 0]
            best = both[np.argsort(-value, kind="stable")[:CLIMBERS]]
        return float(self._table.of(best[:1], [cost])[0, 0])

    def count(self, samples: int, rng: np.random.Generator) -> tuple[int, int]:
        """How many feasible subnets there are among how many.

        Among all of a space that is small enough to walk through; else among about ``samples``
        that are drawn uniformly, at least one.
        """
        if (feasible := self._everything) is not None:
            everything = self.unconstrained._everything
            return len(feasible), len(everything if everything is not None else feasible)
        cards = np.array(self._space.cardinalities)
        drawn = np.floor(rng.random((samples, len(cards))) * cards).astype(np.intp)
        # Of the rows that stand for one subnet the canonical one alone counts.
        drawn = drawn[self._are_canonical(drawn)]
        return int(self.mask(drawn).sum()), max(1, len(drawn))

    def draws(self, count: int, rng: np.random.Generator) -> Indices:
        """Independent subnets (count, dimensions), each feasible one as likely as any other.

        Exactly so in a space that is small enough to walk through, and where as many feasible ones
        are found among `TRIES` uniform ones. Else by Gibbs sampling: from a feasible subnet on
        every dimension takes, `SWEEPS` times, any choice that the others leave room for. That
        comes close to uniform, and reaches it in the limit of many sweeps (where costs do not fall,
        among the subnets that such steps connect).

        Raises:
            ValueError: no subnet is feasible.
        """
        if self.is_empty:
            raise ValueError("no feasible subnet is known")
        if (everything := self._everything) is not None:
            rows: Indices = everything[rng.integers(len(everything), size=count)]
            return rows
        cards = np.array(self._space.cardinalities)
        drawn = np.floor(rng.random((TRIES, len(cards))) * cards).astype(np.intp)
        found: Indices = drawn[self.mask(drawn) & self._are_canonical(drawn)]
        if len(found) >= count:
            return found[:count]
        chains = self._chains(count)
        for _ in range(SWEEPS):
            chains = self._swept(chains, rng)
        return self._space.activity.canonical(chains)

    @cached_property
    def _everything(self) -> Indices | None:
        """All feasible subnets (n, dimensions); None when the space is too large for that."""
        if not self._space.is_enumerable:
            return None
        axes = np.indices(self._space.cardinalities)
        everything = np.stack([axis.ravel() for axis in axes], axis=1).astype(np.intp)
        feasible: Indices = everything[self.mask(everything) & self._are_canonical(everything)]
        return feasible

    def _are_canonical(self, indices: Indices) -> NDArray[np.bool_]:
        """Which rows (n, dimensions) have the first choice where they are not active: (n,)."""
        return np.asarray(np.all(self._space.activity.canonical(indices) == indices, axis=1))

    def _chains(self, count: int) -> Indices:
        """Feasible subnets (count, dimensions) to start from; none if there are none."""
        if not self.is_monotone:
            found = self._found
            chains: Indices = np.resize(found, (count if len(found) else 0, found.shape[1]))
            return chains
        smallest = self._minimal(count)
        feasible: Indices = smallest[self.mask(smallest)]
        return feasible

    @cached_property
    def _found(self) -> Indices:
        """Some feasible subnets (n, dimensions), if any are found.

        Among uniform ones, and else by descent: each dimension takes the choice with which the
        subnet exceeds its bounds the least.
        """
        if (everything := self._everything) is not None:
            return everything[:CLIMBERS]
        rng = np.random.default_rng(0)
        cards = np.array(self._space.cardinalities)
        drawn = np.floor(rng.random((TRIES, len(cards))) * cards).astype(np.intp)
        if np.any(feasible := self.mask(drawn)):
            return np.asarray(drawn[feasible][:CLIMBERS])
        drawn = drawn[:CLIMBERS]
        for _ in range(ROUNDS):
            drawn = self._descended(drawn, rng)
        return np.asarray(drawn[self.mask(drawn)])

    def _descended(self, indices: Indices, rng: np.random.Generator) -> Indices:
        """Subnets (n, dimensions) after one descent over the dimensions in random order."""
        rows, moved = np.arange(len(indices)), indices.copy()
        for dimension in rng.permutation(indices.shape[1]):
            own = self._table.counted_by_choice(moved, dimension)
            others = self._table.counted(moved) - own[rows, moved[:, dimension]]
            costs = self._table.named(others[:, None, :] + own, self._costs)
            moved[:, dimension] = np.argmin(np.max(costs / self._bounds, axis=-1), axis=1)
        return moved

    def _minimal(self, count: int) -> Indices:
        smallest = np.array(self._space.cardinalities, dtype=np.intp) - 1
        return np.tile(smallest, (count, 1))

    def _within(self, counted: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether what was counted (..., counted) satisfies the constraints: shape (...)."""
        if not self._costs:
            return np.ones(counted.shape[:-1], dtype=bool)
        return np.asarray(np.all(self._table.named(counted, self._costs) <= self._bounds, axis=-1))

    def _swept(
        self,
        indices: Indices,
        rng: np.random.Generator,
        *,
        share: float = 1.0,
        towards: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None,
    ) -> Indices:
        """Feasible subnets after a sweep over the dimensions in random order.

        A ``share`` of the dimensions of each takes a random one of the choices that keep it
        feasible, or the one for which ``towards`` gives the most. A subnet that several rows stand
        for is no likelier for it: each of these rows is so much less likely.
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
            if towards is not None:
                preference = towards(own)
            else:
                preference = rng.random(possible.shape)
                if self._space.activity.is_parent(dimension):
                    preference = np.log(preference) * self._rows_alike(swept, dimension)
            choice = np.argmax(np.where(possible, preference, -np.inf), axis=1)
            moved = rng.random(len(swept)) < share
            swept[:, dimension] = np.where(moved, choice, swept[:, dimension])
            total = others + own[rows, swept[:, dimension]]
        return swept

    def _rows_alike(self, indices: Indices, dimension: int) -> NDArray[np.float64]:
        """How many rows are one subnet with each, at each choice of a dimension: (n, choices)."""
        cards = np.array(self._space.cardinalities, dtype=np.float64)
        alike = np.empty((len(indices), int(cards[dimension])))
        for choice in range(alike.shape[1]):
            moved = indices.copy()
            moved[:, dimension] = choice
            alike[:, choice] = np.where(self._space.activity.of(moved), 1.0, cards).prod(axis=1)
        return alike


def with_references(objectives: Objectives, feasible: Feasible) -> Objectives:
    """The objectives of a search over these subnets.

    A reference lies a tenth of the feasible span, from the cheapest to the dearest feasible cost,
    beyond the dearest: so no bound, however tight, lets the margin outweigh the span. It depends on
    the space and the constraints alone. Where the maximal subnet is feasible, nothing changes.
    """
    references: dict[str, float] = {}
    if not feasible.is_everything:
        for name in objectives.costs:
            dearest = feasible.dearest(name)
            span = dearest - feasible.cheapest(name)
            # Where all that is feasible costs the same, only the other objectives are left.
            margin = REFERENCE_MARGIN * (span or dearest)
            references[name.value] = dearest + margin
    return replace(objectives, references=references)
