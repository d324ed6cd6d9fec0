from __future__ import annotations

import numpy as np
import pytest

from elasticnas.api_schemas.costs import Axis, CostModel, Count, Table
from elasticnas.api_schemas.spaces import (
    BLOCKS,
    FFN,
    HEADS,
    OPERATION,
    RANK,
    Condition,
    Dimension,
    leading,
)
from elasticnas.search.cost import cost_report
from elasticnas.search.cost_table import CostTable
from elasticnas.search.cost_terms import (
    Extent,
    attention,
    keys_and_values,
    linear,
    parameters,
    weight_bytes,
)
from elasticnas.search.cost_terms import cost_model as summed
from elasticnas.search.space import SearchSpace
from tests.search.spaces import cost_model, space


def deep() -> tuple[SearchSpace, CostModel]:
    """Depth, and a rank, in the space."""
    depth = Dimension(name="depth", part=BLOCKS, choices=(4, 3, 1))
    rank = Dimension(name="rank", part=RANK, choices=(8, 4, 2))
    adapted = [
        term
        for layer in range(4)
        for term in linear(
            Extent(full=384, dimension=f"layer.{layer}.attention.heads", unit=32),
            Extent(full=384),
            rank=Extent(full=8, dimension="rank"),
            is_trainable=True,
            when=[each.when for each in leading(depth, 4) if each.layer == layer],
        )
    ]
    model = cost_model(depth=depth)
    return SearchSpace((*space().dimensions, depth, rank)), summed([*model.terms, *adapted])


def sparse() -> tuple[SearchSpace, CostModel]:
    """A linear layer cut on both sides, with zeros in its weight."""
    rows = Dimension(name="r", part=FFN, choices=(4, 2))
    columns = Dimension(name="c", part=HEADS, choices=(3, 1))
    zeros = Table(
        axes=tuple(Axis(dimension=d.name, choices=d.choices) for d in (rows, columns)),
        values=(5, 2, 1, 0),
    )
    width = Extent(full=3, dimension="c")
    terms = linear(Extent(full=4, dimension="r"), width, bias=True, zeros=zeros)
    return SearchSpace((rows, columns)), summed([*terms, attention(width), parameters(107)])


def generating() -> tuple[SearchSpace, CostModel]:
    """A decoder of one block: groups of heads, a width, a head for every token."""
    groups = Dimension(name="g", part=HEADS, choices=(4, 2, 1))
    width = Dimension(name="w", part=FFN, choices=(96, 40))
    hidden, heads = Extent(full=64), Extent(full=64, dimension="g", unit=16)
    pairs = (heads, hidden), (hidden, heads), (Extent(full=96, dimension="w"), hidden)
    terms = [term for rows, columns in pairs for term in linear(rows, columns)]
    terms += [weight_bytes(rows, columns, bytes_each=2) for rows, columns in pairs]
    terms += linear(Extent(full=100), hidden, counts_as=Count.HEAD)
    kept = keys_and_values(Extent(full=32, dimension="g", unit=8), bytes_each=2)
    return SearchSpace((groups, width)), summed([*terms, attention(heads), kept])


def conditional() -> tuple[SearchSpace, CostModel]:
    """A width that matters only where its operation is a convolution: the table must know."""
    operation = Dimension(name="o", part=OPERATION, choices=("convolution", "none"), ordered=False)
    width = Dimension(
        name="w",
        part=FFN,
        choices=(6, 4, 1),
        active_when=(Condition(dimension="o", choices=("convolution",)),),
    )
    # The term does not say by itself that it is absent: an inactive width has its first choice.
    return SearchSpace((width, operation)), summed(
        linear(Extent(full=6, dimension="w"), Extent(full=5), bias=True)
    )


@pytest.mark.parametrize(
    "made",
    [lambda: (space(), cost_model()), deep, sparse, conditional, generating],
    ids=["plain", "deep", "sparse", "conditional", "generating"],
)
def test_every_cost_equals_the_report_of_one_subnet_to_the_last_bit(made):
    searched, model = made()
    table = CostTable(searched, model, 64)
    cards = np.array(searched.cardinalities)
    drawn = np.floor(np.random.default_rng(0).random((60, len(cards))) * cards).astype(np.intp)
    found = table.of(drawn, model.costs)
    for row, costs in zip(drawn, found, strict=True):
        report = cost_report(model, searched.decode(row.tolist()), 64).values()
        assert costs.tolist() == [report[cost.value] for cost in model.costs]


def test_a_dimension_falls_when_no_cost_rises_at_any_of_its_steps():
    searched, model = deep()
    assert CostTable(searched, model, 64).falls.all()
    operations, model = conditional()
    # With the operation the width is back at its first choice: cheap widths become dear again.
    assert CostTable(operations, model, 64).falls.tolist() == [True, False]


def test_nothing_costs_more_than_the_largest():
    for made in (deep, sparse, conditional):
        searched, model = made()
        table = CostTable(searched, model, 64)
        cards = np.array(searched.cardinalities)
        drawn = np.floor(np.random.default_rng(1).random((200, len(cards))) * cards)
        costs = model.costs
        assert (table.of(drawn.astype(np.intp), costs) <= table.largest(costs)).all()
    model = cost_model()
    maximal = cost_report(model, space().maximal, 64).values()
    largest = CostTable(space(), model, 64).largest(model.costs)
    assert largest.tolist() == [maximal[cost.value] for cost in model.costs]
