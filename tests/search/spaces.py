"""A space with a cost model and a made-up metric, for tests of the optimiser."""

from __future__ import annotations

from elasticnas.api_schemas.costs import AttentionShape, CostModel, Extent, LinearShape
from elasticnas.api_schemas.spaces import FFN, HEADS, Dimension
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


def cost_model(layers: int = LAYERS) -> CostModel:
    """The shapes of a BERT encoder of hidden size 384 over that space, with a classifier."""
    linears: list[LinearShape] = []
    attentions = []
    hidden = Extent(full=384)
    for layer in range(layers):
        width = Extent(full=384, dimension=f"layer.{layer}.attention.heads", unit=32)
        ffn = Extent(full=1536, dimension=f"layer.{layer}.ffn.width")
        for name, rows, columns in (
            ("query", width, hidden),
            ("key", width, hidden),
            ("value", width, hidden),
            ("attention_output", hidden, width),
            ("ffn_in", ffn, hidden),
            ("ffn_out", hidden, ffn),
        ):
            linears.append(
                LinearShape(
                    name=f"layer.{layer}.{name}",
                    rows=rows,
                    columns=columns,
                    bias=True,
                    tokens="sequence",
                    layer=layer,
                )
            )
        attentions.append(AttentionShape(layer=layer, width=width))
    linears.append(
        LinearShape(name="classifier", rows=Extent(full=2), columns=hidden, bias=True, tokens="one")
    )
    return CostModel(
        linears=tuple(linears),
        attentions=tuple(attentions),
        layer_params=(4 * 384,) * layers,
        constant_params=1000,
    )


def accuracy(subnet: SubnetConfig) -> dict[str, float]:
    """A metric that rises with every choice, faster for early layers."""
    score = 0.0
    for position, (name, choice) in enumerate(subnet.items()):
        full = 12 if name.endswith("heads") else 1536
        score += (choice / full) ** 0.5 / (1 + position)
    return {"accuracy": 0.5 + 0.15 * score / 1.2}
