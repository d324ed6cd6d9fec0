from __future__ import annotations

import numpy as np
import pytest

from elasticnas.api_schemas.costs import AttentionShape, Cost, CostModel, Extent, LinearShape
from elasticnas.api_schemas.spaces import BLOCKS, FFN, HEADS, RANK, Dimension
from elasticnas.search.cost import cost_report
from elasticnas.search.cost_table import CostTable
from elasticnas.search.space import SearchSpace
from tests.search.spaces import cost_model, space


def deep() -> tuple[SearchSpace, CostModel]:
    """Depth, and a rank, in the space."""
    dimensions = (
        *space().dimensions,
        Dimension(name="depth", part=BLOCKS, choices=(4, 3, 1)),
        Dimension(name="rank", part=RANK, choices=(8, 4, 2)),
    )
    model = cost_model()
    rank = Extent(full=8, dimension="rank")
    linears = tuple(
        shape.model_copy(update={"rank": rank, "trainable": True})
        if shape.name.endswith("query")
        else shape
        for shape in model.linears
    )
    return SearchSpace(dimensions), model.model_copy(update={"depth": "depth", "linears": linears})


def sparse() -> tuple[SearchSpace, CostModel]:
    """A linear layer cut on both sides, with zeros in its weight."""
    rows = Dimension(name="r", part=FFN, choices=(4, 2))
    columns = Dimension(name="c", part=HEADS, choices=(3, 1))
    shape = LinearShape(
        name="up",
        rows=Extent(full=4, dimension="r"),
        columns=Extent(full=3, dimension="c"),
        bias=True,
        tokens="sequence",
        layer=0,
        zeros={4: {3: 5, 1: 2}, 2: {3: 1, 1: 0}},
    )
    model = CostModel(
        linears=(shape,),
        attentions=(AttentionShape(layer=0, width=Extent(full=3, dimension="c")),),
        layer_params=(7,),
        constant_params=100,
    )
    return SearchSpace((rows, columns)), model


@pytest.mark.parametrize(
    "made", [lambda: (space(), cost_model()), deep, sparse], ids=["plain", "deep", "sparse"]
)
def test_every_cost_equals_the_report_of_one_subnet_to_the_last_bit(made):
    searched, model = made()
    table = CostTable(searched, model, 64)
    cards = np.array(searched.cardinalities)
    drawn = np.floor(np.random.default_rng(0).random((60, len(cards))) * cards).astype(np.intp)
    found = table.of(drawn, Cost)
    for row, costs in zip(drawn, found, strict=True):
        report = cost_report(model, searched.decode(row.tolist()), 64).values()
        assert costs.tolist() == [report[cost.value] for cost in Cost]
