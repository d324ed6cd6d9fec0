from __future__ import annotations

import pytest

from elasticnas.api_schemas.costs import Axis, CostModel, Count, Table
from elasticnas.api_schemas.spaces import BLOCKS, FFN, HIDDEN, OPERATION, RANK, Condition, Dimension
from elasticnas.search.cost import cost_report
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


def bert_base() -> CostModel:
    """The shapes of bert-base-uncased with a two-class head."""
    hidden, ffn = Extent(full=768), Extent(full=3072)
    terms = [parameters((30522 + 512 + 2 + 2) * 768)]
    for _ in range(12):
        for rows, columns in [(hidden, hidden)] * 4 + [(ffn, hidden), (hidden, ffn)]:
            terms += linear(rows, columns, bias=True)
        terms += [attention(hidden), parameters(4 * 768)]
    for rows in (hidden, Extent(full=2)):
        terms += linear(rows, hidden, bias=True, tokens="one", counts_as=Count.HEAD)
    return summed(terms)


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
    model = summed(linear(Extent(full=10), Extent(full=20), rank=Extent(full=8, dimension="r")))
    subnets = SearchSpace((rank,))
    for subnet, r in ((subnets.maximal, 8), (subnets.minimal, 2)):
        report = cost_report(model, subnet, 16)
        assert report.breakdown.adapters == 16 * r * 30
        assert report.gflops == 16 * 200 / 1e9
        assert report.trainable_params == r * 30
        assert report.nonzero_params == 200 + r * 30


def test_layers_beyond_the_depth_cost_nothing():
    depth = Dimension(name="depth", part=BLOCKS, choices=(4, 3, 1))
    model = cost_model(depth=depth)
    deep = SearchSpace((*space().dimensions, depth))
    one, four = (cost_report(model, deep.subnet({"depth": d}), 64) for d in (1, 4))
    assert one.breakdown.linear * 4 == four.breakdown.linear
    assert one.breakdown.attention * 4 == four.breakdown.attention
    assert one.breakdown.head == four.breakdown.head


def test_zeros_of_a_sparse_base_are_taken_off_by_prefix_block():
    width = Dimension(name="w", part=FFN, choices=(4, 2))
    zeros = Table(axes=(Axis(dimension="w", choices=(4, 2)),), values=(5, 1))
    model = summed(linear(Extent(full=4, dimension="w"), Extent(full=3), bias=True, zeros=zeros))
    subnets = SearchSpace((width,))
    assert cost_report(model, subnets.maximal, 8).nonzero_params == 4 * 3 + 4 - 5
    assert cost_report(model, subnets.minimal, 8).nonzero_params == 2 * 3 + 2 - 1


def test_zeros_that_every_subnet_has_are_one_term_for_all_layers():
    zeros = Table(axes=(), values=(5,))
    weight = Extent(full=4), Extent(full=3)
    model = summed([*linear(*weight, zeros=zeros), *linear(*weight, zeros=zeros)])
    assert len(model.terms) == 2
    nothing = SearchSpace((Dimension(name="x", part=RANK, choices=(1,)),)).maximal
    assert cost_report(model, nothing, 8).nonzero_params == 2 * (12 - 5)


def test_a_token_costs_its_share_of_what_all_pass_and_its_own_row_of_attention():
    hidden, heads = Extent(full=8), Extent(full=6)
    terms = [
        *linear(heads, hidden),
        attention(heads),
        *linear(Extent(full=100), hidden, counts_as=Count.HEAD),
        keys_and_values(Extent(full=2), bytes_each=2),
        weight_bytes(heads, hidden, bytes_each=2),
    ]
    nothing = SearchSpace((Dimension(name="x", part=RANK, choices=(1,)),)).maximal
    report = cost_report(summed(terms), nothing, 16)
    assert report.gflops_per_token == (6 * 8 + 2 * 16 * 6 + 800) / 1e9
    assert report.kv_bytes == 16 * 2 * 2 * 2
    assert report.weight_bytes == 96


def test_costs_that_were_not_counted_are_not_known():
    model = bert_base()
    nothing = SearchSpace((Dimension(name="x", part=RANK, choices=(1,)),)).maximal
    report = cost_report(model, nothing, 8)
    assert report.weight_bytes is report.kv_bytes is report.gflops_per_token is None
    assert [*report.values()] == [cost.value for cost in model.costs]
    assert len(model.costs) == 5


def test_a_language_models_head_sees_every_token():
    counts = {"rows": Extent(full=100), "columns": Extent(full=8), "counts_as": Count.HEAD}
    nothing = SearchSpace((Dimension(name="x", part=RANK, choices=(1,)),)).maximal
    for tokens, macs in (("one", 800), ("every", 16 * 800)):
        report = cost_report(summed(linear(**counts, tokens=tokens)), nothing, 16)
        assert report.breakdown.head == macs
        assert report.gflops == macs / 1e9
        assert report.params == 800


def test_choices_that_are_no_amounts_have_a_length_each():
    """An operation of 12, 0 or 3 channels, on a hidden size that is cut as well."""
    operation = Dimension(
        name="o", part=OPERATION, choices=("wide", "none", ("thin", 3)), ordered=False
    )
    hidden = Dimension(name="h", part=HIDDEN, choices=(10, 5))
    lengths = Table(axes=(Axis(dimension="o", choices=operation.choices),), values=(12, 0, 3))
    model = summed(
        linear(Extent(full=12, lengths=lengths), Extent(full=10, dimension="h"), bias=True)
    )
    subnets = SearchSpace((operation, hidden))
    for choice, rows in zip(operation.choices, (12, 0, 3), strict=True):
        for columns in (10, 5):
            subnet = subnets.subnet({"o": choice, "h": columns})
            assert cost_report(model, subnet, 1).params == rows * columns + rows


def test_a_term_counts_where_all_its_conditions_hold():
    names = [Dimension(name=n, part=BLOCKS, choices=("on", "off"), ordered=False) for n in "ab"]
    when = tuple(Condition(dimension=n, choices=("on",)) for n in "ab")
    model = summed([parameters(7, when=when), parameters(1)])
    found = {
        (subnet["a"], subnet["b"]): cost_report(model, subnet, 8).params
        for subnet in SearchSpace(tuple(names)).enumerate()
    }
    assert found == {("on", "on"): 8, ("on", "off"): 1, ("off", "on"): 1, ("off", "off"): 1}


def test_like_terms_are_one_whichever_side_a_factor_stands_on():
    one, two = Extent(full=8, dimension="one"), Extent(full=6, dimension="two", unit=3)
    assert len(summed([*linear(one, two), *linear(two, one)]).terms) == 1


def test_a_table_that_is_not_full_is_refused():
    with pytest.raises(ValueError, match="has 2 values, found 1"):
        Table(axes=(Axis(dimension="w", choices=(4, 2)),), values=(5,))
