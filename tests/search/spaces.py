"""A space with a cost model and a made-up metric, for tests of the optimiser."""

from __future__ import annotations

from elasticnas.api_schemas.costs import CostModel, Count, Term
from elasticnas.api_schemas.spaces import FFN, HEADS, Dimension, leading
from elasticnas.search.cost_terms import Extent, attention, linear, parameters
from elasticnas.search.cost_terms import cost_model as summed
from elasticnas.search.space import SearchSpace, SubnetConfig

LAYERS = 4


def space(layers: int = LAYERS) -> SearchSpace:
    """Heads and FFN width in each layer: 12 ** layers subnets."""
    dimensions = []
    for layer in range(layers):
        dimensions += [
            Dimension(
                name=f"layer.{layer}.attention.heads", part=HEADS, layer=layer, choices=(12, 9, 6)
            ),
            Dimension(
                name=f"layer.{layer}.ffn.width",
                part=FFN,
                layer=layer,
                choices=(1536, 1152, 768, 384),
            ),
        ]
    return SearchSpace(tuple(dimensions))


def cost_model(layers: int = LAYERS, depth: Dimension | None = None) -> CostModel:
    """The shapes of a BERT encoder of hidden size 384 over that space, with a classifier."""
    terms: list[Term] = []
    presences = () if depth is None else leading(depth, layers)
    hidden = Extent(full=384)
    for layer in range(layers):
        width = Extent(full=384, dimension=f"layer.{layer}.attention.heads", unit=32)
        ffn = Extent(full=1536, dimension=f"layer.{layer}.ffn.width")
        when = tuple(each.when for each in presences if (each.layer, each.half) == (layer, "ffn"))
        for rows, columns in (
            *[(width, hidden)] * 3,
            (hidden, width),
            (ffn, hidden),
            (hidden, ffn),
        ):
            terms += linear(rows, columns, bias=True, when=when)
        terms.append(attention(width, when=when))
        terms.append(parameters(4 * 384, when=when))
    terms += linear(Extent(full=2), hidden, bias=True, tokens="one", counts_as=Count.HEAD)
    terms.append(parameters(1000))
    return summed(terms)


def accuracy(subnet: SubnetConfig) -> dict[str, float]:
    """A metric that rises with every choice, faster for early layers."""
    score = 0.0
    for position, (name, choice) in enumerate(subnet.items()):
        full = 12 if name.endswith("heads") else 1536
        score += (choice / full) ** 0.5 / (1 + position)
    return {"accuracy": 0.5 + 0.15 * score / 1.2}
