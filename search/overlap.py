"""How much of a subnet's weights another subnet of the same super-network has, too.

The ordered weight transfer of FlexiBERT (Tuli et al. 2023), whose code goes from the first layer on
and ends at the first one whose operation is another; as in its second version (EdgeTran's
``transfer_mode: OD``) a tensor of another size is transferred as far as both reach. It counts
tensors, this counts parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.costs import CostModel, Count, Term
from elasticnas.api_schemas.spaces import BLOCKS, OPERATION, Condition
from elasticnas.search.space import SearchSpace, SubnetConfig

Choices = tuple[object, ...]


@dataclass(frozen=True)
class Extents:
    """What a subnet has of each tensor, as far as a transfer depends on it.

    ``lengths`` are along the axes that dimensions cut, 0 where it does not have the tensor at all:
    shape (terms, axes). ``runs`` says of each layer what it is.
    """

    lengths: NDArray[np.int64]
    runs: tuple[Choices, ...]


class Overlap:
    """Compares subnets of one super-network, by the parameters that its costs are counted from.

    A tensor that two subnets have under different conditions (the pooler behind another last layer)
    is not the same one.
    """

    def __init__(self, space: SearchSpace, model: CostModel) -> None:
        self._terms = [term for term in model.terms if Count.PARAMS in term.counts]
        self._sizes = np.array([term.coefficient for term in self._terms], dtype=np.float64)
        layers = [term.layer for term in self._terms]
        self.layers = 1 + max([-1, *(layer for layer in layers if layer is not None)])
        """How many there are at most."""
        self._layer = np.array([-1 if layer is None else layer for layer in layers])
        self._axes = max([1, *(len(term.amounts) + len(term.tables) for term in self._terms)])
        parts = {dimension.name: dimension.part for dimension in space.dimensions}
        chosen = [each for each in space.dimensions if each.part == OPERATION]
        self._operations = [
            [each.name for each in chosen if each.layer == place] for place in range(self.layers)
        ]
        self._presences = [
            list(
                dict.fromkeys(
                    condition
                    for term in self._terms
                    if term.layer == place
                    for condition in term.when
                    if parts.get(condition.dimension) == BLOCKS
                )
            )
            for place in range(self.layers)
        ]

    def extents(self, subnet: SubnetConfig) -> Extents:
        """What a subnet has."""
        lengths = np.ones((len(self._terms), self._axes), dtype=np.int64)
        for place, term in enumerate(self._terms):
            if subnet.meets(term.when):
                found = _lengths(term, subnet)
                lengths[place, : len(found)] = found
            else:
                lengths[place] = 0
        runs = (
            (*(subnet[name] for name in names), *_met(subnet, presences))
            for names, presences in zip(self._operations, self._presences, strict=True)
        )
        return Extents(lengths, tuple(runs))

    def layers_alike(self, trained: Extents, new: Extents) -> int:
        """How many of the first layers run the same operation, or none, in both."""
        pairs = zip(trained.runs, new.runs, strict=True)
        return next((i for i, (one, other) in enumerate(pairs) if one != other), self.layers)

    def share(self, trained: Extents, new: Extents) -> float:
        """Of the new subnet's parameters, which share can be had of the trained one's.

        Those of the layers before the first that runs another operation, and those of no layer; of
        each tensor the prefix that both have.
        """
        there = self._layer < self.layers_alike(trained, new)
        common = np.prod(np.minimum(trained.lengths, new.lengths), axis=1, dtype=np.float64)
        whole = np.prod(new.lengths, axis=1, dtype=np.float64)
        return float(np.sum((self._sizes * common)[there]) / np.sum(self._sizes * whole))


def _lengths(term: Term, subnet: SubnetConfig) -> list[int]:
    tabled = (
        table.values[sum(places[subnet[name]] for name, places in table.places)]
        for table in term.tables
    )
    return [*(subnet.amount(name) for name in term.amounts), *tabled]


def _met(subnet: SubnetConfig, conditions: Sequence[Condition]) -> Iterable[bool]:
    return (subnet.meets((each,)) for each in conditions)
