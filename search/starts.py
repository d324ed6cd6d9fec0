"""Which evaluated subnet the training of each new one begins with."""

from __future__ import annotations

from elasticnas.api_schemas.costs import CostModel
from elasticnas.api_schemas.training_starts import StartedFrom
from elasticnas.search.overlap import Extents, Overlap
from elasticnas.search.space import SearchSpace, SubnetConfig


class Starts:
    """Finds a start for each subnet whose evaluation is about to begin.

    It follows from what a strategy has been told, so a search that is rebuilt from its rows has
    the same starts, and each subnet of it comes of the same chain of trainings.
    """

    def __init__(self, space: SearchSpace, model: CostModel, min_overlap: float) -> None:
        self._overlap = Overlap(space, model)
        self._min_overlap = min_overlap
        self._trained: dict[int, Extents] = {}

    def tell(self, number: int, subnet: SubnetConfig) -> None:
        """A subnet has been trained to the end, and its strategy knows."""
        self._trained[number] = self._overlap.extents(subnet)

    def choose(self, subnet: SubnetConfig) -> StartedFrom | None:
        """The evaluation that a subnet shares the largest part of its parameters with.

        Of equal ones the first, whose chain is likely the shortest. None where the part is too
        small: the training begins with the super-network's weights.
        """
        new = self._overlap.extents(subnet)
        shares = {number: self._overlap.share(each, new) for number, each in self._trained.items()}
        number = max(shares, key=lambda each: (shares[each], -each), default=None)
        if number is None or shares[number] < self._min_overlap:
            return None
        layers = self._overlap.layers_alike(self._trained[number], new)
        return StartedFrom(number=number, overlap=round(shares[number], 6), layers=layers)
