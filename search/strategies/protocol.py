"""The seam between a search and the algorithm that proposes its subnets."""

from __future__ import annotations

from typing import Protocol

from elasticnas.search.pareto import Losses
from elasticnas.search.space import SubnetConfig


class Strategy(Protocol):
    """Proposes subnets, and learns from what became of them.

    A proposal must be a pure function of the seed, of ``number`` and ``attempt``, and of what the
    strategy was told: then a strategy that died with its process is rebuilt by telling a fresh one
    the recorded evaluations, and goes on as if nothing had happened. ``begin`` is called for every
    evaluation of the search in order of its number, also for those that the strategy did not
    propose; ``tell`` in the same order, once each. How many had been told when a number began is
    part of what is replayed.
    """

    def ask(self, number: int, attempt: int) -> SubnetConfig | None:
        """A subnet for evaluation ``number``, or None to wait until more has been told.

        ``attempt`` rises when an earlier proposal for this number had been seen before.
        """
        ...

    def begin(self, number: int, subnet: SubnetConfig) -> None:
        """Evaluation ``number`` of ``subnet`` is now under way."""
        ...

    def tell(self, number: int, losses: Losses, *, failed: bool) -> None:
        """Evaluation ``number`` came to ``losses`` (shape (m,), all minimised).

        When it ``failed``, the losses of metrics are the worst, and were not measured.
        """
        ...
