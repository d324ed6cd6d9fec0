"""The stop rule for a search that no longer finds anything better."""

from __future__ import annotations

from collections import deque

from elasticnas.api_schemas.searches import Plateau
from elasticnas.search.pareto import Losses, ParetoArchive


class PlateauWatch:
    """Watches the hypervolume h(n) of the first n results, in the order of their numbers.

    The plateau is reached at the first n with h(n) - h(n - ``evaluations``) < ``min_gain``. That
    order is not the one in which results arrive: so the rule depends on the results alone, and a
    search that was restarted, or has other workers, stops at the same number.

    ``reference`` (shape (m,)) bounds the hypervolume; a rule of None is never met. Where
    constraints leave only a share of the box ``reachable``, ``min_gain`` is of that share.
    """

    def __init__(self, rule: Plateau | None, reference: Losses, reachable: float = 1.0) -> None:
        self._rule = rule
        self._least = 0.0 if rule is None else rule.min_gain * reachable
        self._archive = ParetoArchive(reference)
        self._hypervolumes = deque([0.0], maxlen=1 if rule is None else rule.evaluations + 1)

    def tell(self, number: int, losses: Losses) -> bool:
        """Take the next result (losses of shape (m,)); True when the plateau is reached with it."""
        if self._rule is None:
            return False
        self._archive.add(number, losses)
        self._hypervolumes.append(self._archive.hypervolume)
        if len(self._hypervolumes) <= self._rule.evaluations:
            return False
        return self._hypervolumes[-1] - self._hypervolumes[0] < self._least
