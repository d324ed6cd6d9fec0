from __future__ import annotations

from elasticnas.api_schemas.costs import AttentionShape, CostModel, Extent, LinearShape
from elasticnas.api_schemas.spaces import BLOCKS, FFN, RANK, Dimension
from elasticnas.search.cost import cost_report
from elasticnas.search.space import SearchSpace
from tests.search.spaces import cost_model, space


def bert_base() -> CostModel:
    """The shapes of bert-base-uncased with a two-class head."""
    hidden, ffn = Extent(full=768), Extent(full=3072)
    linears = [
        LinearShape(
            name=f"{layer}.{i}", rows=r, columns=c, bias=True, tokens="sequence", layer=layer
        )
        for layer in range(12)
        for i, (r, c) in enumerate([(hidden, hidden)] * 4 + [(ffn, hidden), (hidden, ffn)])
    ]
    linears.append(LinearShape(name="pooler", rows=hidden, columns=hidden, bias=True, tokens="one"))
    linears.append(
        LinearShape(name="head", rows=Extent(full=2), columns=hidden, bias=True, tokens="one")
    )
    return CostModel(
        linears=tuple(linears),
        attentions=tuple(AttentionShape(layer=i, width=hidden) for i in range(12)),
        layer_params=(4 * 768,) * 12,
        constant_params=(30522 + 512 + 2 + 2) * 768,
    )


def test_bert_base_at_128_tokens_costs_the_papers_11_2_gflops():
    nothing = SearchSpace((Dimension(name="x", part=RANK, choices=(1,)),))
    report = cost_report(bert_base(), nothing.maximal, 128)
    assert report.breakdown.linear == 12 * 128 * (4 * 768**2 + 2 * 768 * 3072)
    assert report.breakdown.attention == 12 * 2 * 128**2 * 768
    assert round(report.gflops, 2) == 11.17
    assert report.params == 109_483_778


def test_every_cost_falls_when_any_choice_falls():
    base = space()
    largest = cost_report(cost_model(), base.maximal, 64)
    for dimension in base.dimensions:
        smaller = cost_report(cost_model(), base.subnet({dimension.name: dimension.choices[1]}), 64)
        assert smaller.gflops < largest.gflops
        assert smaller.params < largest.params


def test_a_lora_branch_costs_only_when_unmerged():
    rank = Dimension(name="r", part=RANK, choices=(8, 2))
    shape = LinearShape(
        name="q",
        rows=Extent(full=10),
        columns=Extent(full=20),
        bias=False,
        tokens="sequence",
        layer=0,
        rank=Extent(full=8, dimension="r"),
    )
    model = CostModel(linears=(shape,), attentions=(), layer_params=(0,), constant_params=0)
    subnets = SearchSpace((rank,))
    for subnet, r in ((subnets.maximal, 8), (subnets.minimal, 2)):
        report = cost_report(model, subnet, 16)
        assert report.breakdown.adapters == 16 * r * 30
        assert report.gflops == 16 * 200 / 1e9
        assert report.trainable_params == r * 30
        assert report.nonzero_params == 200 + r * 30


def test_layers_beyond_the_depth_cost_nothing():
    depth = Dimension(name="depth", part=BLOCKS, choices=(4, 3, 1))
    model = cost_model().model_copy(update={"depth": "depth"})
    deep = SearchSpace((*space().dimensions, depth))
    one, four = (cost_report(model, deep.subnet({"depth": d}), 64) for d in (1, 4))
    assert one.breakdown.linear * 4 == four.breakdown.linear
    assert one.breakdown.attention * 4 == four.breakdown.attention
    assert one.breakdown.head == four.breakdown.head


def test_zeros_of_a_sparse_base_are_taken_off_by_prefix_block():
    width = Dimension(name="w", part=FFN, choices=(4, 2))
    shape = LinearShape(
        name="up",
        rows=Extent(full=4, dimension="w"),
        columns=Extent(full=3),
        bias=True,
        tokens="sequence",
        layer=0,
        zeros={4: {3: 5}, 2: {3: 1}},
    )
    model = CostModel(linears=(shape,), attentions=(), layer_params=(0,), constant_params=0)
    subnets = SearchSpace((width,))
    assert cost_report(model, subnets.maximal, 8).nonzero_params == 4 * 3 + 4 - 5
    assert cost_report(model, subnets.minimal, 8).nonzero_params == 2 * 3 + 2 - 1
