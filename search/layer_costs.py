"""What each layer of a subnet costs: the terms of its cost, parted by the layer they are of."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from elasticnas.api_schemas.costs import Cost, CostModel, LayerCost, Term
from elasticnas.api_schemas.spaces import (
    HALVES,
    Condition,
    Dimension,
    LayerRead,
    LayersRead,
    Presence,
)
from elasticnas.search.cost import UNITS, whole_costs
from elasticnas.search.space import SearchSpace, SubnetConfig


class LayeredCosts:
    """The cost model of a super-network, layer by layer.

    Costs are sums of terms, so those of the layers and of the rest add up to the whole.
    """

    def __init__(self, space: SearchSpace, model: CostModel, presences: Sequence[Presence]) -> None:
        self._space = space
        self._presences = presences
        self._costs = model.costs
        own = {each.name: each.layer for each in space.dimensions}
        terms: dict[int | None, list[Term]] = defaultdict(list)
        for term in model.terms:
            terms[_layer_of(term, own)].append(term)
        self._rest = CostModel(terms=tuple(terms.pop(None, ())))
        self._models = {layer: CostModel(terms=tuple(each)) for layer, each in terms.items()}
        said = [*(each.layer for each in space.dimensions), *(each.layer for each in presences)]
        named = {layer for layer in said if layer is not None}
        self.layers = sorted(named | {layer for layer in self._models if layer is not None})

    def read(self) -> LayersRead:
        """Each layer's dimensions and what of it may be left out."""
        return LayersRead(
            layers=[
                LayerRead(
                    layer=layer,
                    optional=[half for half in HALVES if self._conditions(layer, half)],
                    dimensions=self._dimensions(layer),
                )
                for layer in self.layers
            ],
            dimensions=self._dimensions(None),
        )

    def of(self, subnet: SubnetConfig, max_length: int) -> list[LayerCost]:
        """Every layer of a subnet."""
        return [self._layer(layer, subnet, max_length) for layer in self.layers]

    def rest(self, subnet: SubnetConfig, max_length: int) -> dict[str, int | float]:
        """What belongs to no layer."""
        return self._priced(self._rest, subnet, max_length)

    def _layer(self, layer: int, subnet: SubnetConfig, max_length: int) -> LayerCost:
        own = self._dimensions(layer)
        return LayerCost(
            layer=layer,
            runs={half: subnet.meets(self._conditions(layer, half)) for half in HALVES},
            choices={each.name: subnet[each.name] for each in own},
            share=_shares(own, subnet),
            cost=self._priced(self._models.get(layer, CostModel(terms=())), subnet, max_length),
        )

    def _priced(
        self, model: CostModel, subnet: SubnetConfig, max_length: int
    ) -> dict[str, int | float]:
        whole = whole_costs(model, subnet, max_length)
        return {cost.value: _in_units(cost, whole[cost]) for cost in self._costs}

    def _dimensions(self, layer: int | None) -> list[Dimension]:
        return [each for each in self._space.dimensions if each.layer == layer]

    def _conditions(self, layer: int, half: str) -> list[Condition]:
        return [e.when for e in self._presences if e.layer == layer and e.half == half]


def _layer_of(term: Term, layers: Mapping[str, int | None]) -> int | None:
    """The layer that a term is of; of an earlier version's report, the one of its dimensions."""
    if term.layer is not None:
        return term.layer
    own = {layers.get(name) for name in term.dimensions}
    return own.pop() if len(own) == 1 else None


def _shares(dimensions: Sequence[Dimension], subnet: SubnetConfig) -> dict[str, float]:
    """By part, the mean of what was chosen as a share of the largest choice."""
    found: dict[str, list[float]] = defaultdict(list)
    for each in dimensions:
        if (amounts := each.amounts) is not None:
            found[each.part].append(subnet.amount(each.name) / amounts[0])
    return {part: sum(shares) / len(shares) for part, shares in found.items()}


def _in_units(cost: Cost, counted: int) -> int | float:
    return counted / UNITS[cost] if cost in UNITS else counted
