"""Which subnets may be evaluated: feasible ones that the search has not seen."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from elasticnas.api_schemas.costs import CostReport
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import Constraint
from elasticnas.search.space import SearchSpace, SubnetConfig

ENUMERABLE = 50_000
"""Spaces up to this size are walked through to find the last unseen subnets."""


class Admission:
    """Turns any proposal into a feasible, unseen subnet near it, at no evaluation's cost.

    Raises:
        InputError: even the minimal subnet breaks a constraint, so no subnet satisfies it.
    """

    def __init__(
        self,
        space: SearchSpace,
        constraints: Sequence[Constraint],
        cost_of: Callable[[SubnetConfig], CostReport],
    ) -> None:
        self._space = space
        self._constraints = constraints
        self._cost_of = cost_of
        self._seen: set[SubnetConfig] = set()
        for index, constraint in enumerate(constraints):
            if (broken := self.violation(space.minimal, [constraint])) is not None:
                raise InputError(
                    f"no subnet satisfies {constraint.cost.value} <= {constraint.max:g}: the "
                    f"minimal one has {broken}",
                    field=f"constraints/{index}/max",
                    value=f"{constraint.max:g}",
                    remedy="raise the bound to the minimal subnet's cost or above",
                )

    def violation(
        self, subnet: SubnetConfig, constraints: Sequence[Constraint] | None = None
    ) -> str | None:
        """The cost with which ``subnet`` breaks a constraint, or None when it is feasible."""
        cost = self._cost_of(subnet)
        for constraint in self._constraints if constraints is None else constraints:
            value = getattr(cost, constraint.cost.value)
            if value > constraint.max:
                return f"{constraint.cost.value} of {value:g}"
        return None

    def is_feasible(self, subnet: SubnetConfig) -> bool:
        """True when the subnet satisfies every constraint."""
        return self.violation(subnet) is None

    def require_feasible(self, subnet: SubnetConfig, *, field: str) -> None:
        """Raise `InputError` for ``field`` when the subnet breaks a constraint."""
        if (broken := self.violation(subnet)) is not None:
            raise InputError(
                f"the subnet breaks a constraint of the search: it has {broken}",
                field=field,
                remedy="leave the subnet out or raise the bound",
            )

    def is_unseen(self, subnet: SubnetConfig) -> bool:
        """True when the search has not yet begun an evaluation of this subnet."""
        return subnet not in self._seen

    def mark_seen(self, subnet: SubnetConfig) -> None:
        """The search has begun an evaluation of this subnet."""
        self._seen.add(subnet)

    def repair(self, subnet: SubnetConfig, rng: random.Random) -> SubnetConfig:
        """Shrink random dimensions by one step until every constraint holds.

        Costs fall with every choice, and the minimal subnet is feasible, so this ends.
        """
        indices = list(self._space.encode(subnet))
        while not self.is_feasible(subnet):
            shrinkable = [
                position
                for position, count in enumerate(self._space.cardinalities)
                if indices[position] < count - 1
            ]
            indices[rng.choice(shrinkable)] += 1
            subnet = self._space.decode(indices)
        return subnet

    def unseen_near(self, subnet: SubnetConfig, rng: random.Random) -> SubnetConfig | None:
        """A feasible, unseen subnet: by a random walk from ``subnet``, then by enumeration.

        None when the space is exhausted (or, in a space too large to walk through, when neither a
        walk of 64 steps nor 1000 random draws met an unseen subnet).
        """
        indices = list(self._space.encode(subnet))
        free = [i for i, count in enumerate(self._space.cardinalities) if count > 1]
        for _ in range(64 if free else 0):
            position = rng.choice(free)
            indices[position] = rng.randrange(self._space.cardinalities[position])
            candidate = self.repair(self._space.decode(indices), rng)
            if self.is_unseen(candidate):
                return candidate
        if self._space.size <= ENUMERABLE:
            unseen = (s for s in self._space.enumerate() if self.is_unseen(s))
            return next((s for s in unseen if self.is_feasible(s)), None)
        for _ in range(1000):
            drawn = [rng.randrange(count) for count in self._space.cardinalities]
            candidate = self.repair(self._space.decode(drawn), rng)
            if self.is_unseen(candidate):
                return candidate
        return None
