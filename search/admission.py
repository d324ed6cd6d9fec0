"""Which subnets may be evaluated: feasible ones that the search has not seen."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import numpy as np

from elasticnas.api_schemas.costs import CostReport
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.searches import Constraint
from elasticnas.search.problem import SearchProblem
from elasticnas.search.space import SubnetConfig


class Admission:
    """Turns any proposal into a feasible, unseen subnet near it, at no evaluation's cost.

    Raises:
        InputError: no subnet satisfies the constraints.
    """

    def __init__(
        self, problem: SearchProblem, cost_of: Callable[[SubnetConfig], CostReport]
    ) -> None:
        self._space = problem.space
        self._constraints = problem.constraints
        self._feasible = problem.feasible
        self._cost_of = cost_of
        self._seen: set[SubnetConfig] = set()
        if self._feasible.is_empty:
            self._refuse()

    def _refuse(self) -> None:
        """Raise the `InputError` of the first constraint that cannot be met, or of all of them."""
        everything = self._feasible.unconstrained
        for index, constraint in enumerate(self._constraints):
            cheapest = everything.cheapest(constraint.cost)
            if cheapest > constraint.max:
                raise InputError(
                    f"no subnet satisfies {constraint.cost.value} <= {constraint.max:g}: the "
                    f"cheapest one has {constraint.cost.value} of {cheapest:g}",
                    field=f"constraints/{index}/max",
                    value=f"{constraint.max:g}",
                    remedy="raise the bound to the cheapest subnet's cost or above",
                )
        raise InputError(
            "no subnet was found that satisfies all constraints together",
            field="constraints",
            remedy="raise one of the bounds",
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

        A dimension that does not make a subnet cheaper with each step takes any choice instead.
        Where costs fall with every choice, the minimal subnet ends this at the latest; elsewhere,
        after as many steps as could lead there, a feasible subnet is drawn.
        """
        indices, shrinks = list(self._space.encode(subnet)), self._feasible.shrinks.tolist()
        for _ in range(sum(self._space.cardinalities)):
            if self.is_feasible(subnet):
                return subnet
            movable = [
                position
                for position, count in enumerate(self._space.cardinalities)
                if not shrinks[position] or indices[position] < count - 1
            ]
            position = rng.choice(movable)
            if shrinks[position]:
                indices[position] += 1
            else:
                indices[position] = rng.randrange(self._space.cardinalities[position])
            subnet = self._space.decode(indices)
        drawn = self._feasible.draws(1, np.random.default_rng(rng.getrandbits(64)))
        return self._space.decode(drawn[0].tolist())

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
        if self._space.is_enumerable:
            unseen = (s for s in self._space.enumerate() if self.is_unseen(s))
            return next((s for s in unseen if self.is_feasible(s)), None)
        for _ in range(1000):
            drawn = [rng.randrange(count) for count in self._space.cardinalities]
            candidate = self.repair(self._space.decode(drawn), rng)
            if self.is_unseen(candidate):
                return candidate
        return None
