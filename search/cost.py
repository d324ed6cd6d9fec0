"""The cost of a subnet, analytic and exact, from the terms of its super-network.

The unit is the papers': one multiply-accumulate counts as one operation, so BERT-base at 128 tokens
costs 11.17 GFLOPs (10.87 in linear layers, 0.30 in attention products). ``docs/costs.md`` derives
each figure. Nothing here touches weights: a cost is known before an evaluation is spent.
"""

from __future__ import annotations

from collections.abc import Mapping

from elasticnas.api_schemas.costs import (
    BY_LENGTH,
    MACS,
    Cost,
    CostModel,
    CostReport,
    Count,
    Term,
)
from elasticnas.search.space import SubnetConfig

MERGED = (Count.LINEAR, Count.HEAD, Count.ATTENTION)
"""The multiply-accumulates of a subnet whose adapters are merged."""

UNITS: Mapping[Cost, float] = {
    Cost.GFLOPS: 1e9,
    Cost.GFLOPS_PER_TOKEN: 1e9,
    Cost.ADAPTER_GFLOPS: 1e9,
}
"""How many of what is counted make one unit of a cost, where that is not one."""


def cost_report(model: CostModel, subnet: SubnetConfig, max_length: int) -> CostReport:
    """What ``subnet`` costs for one sequence of ``max_length`` tokens.

    Biases, norms, activations, softmax and embedding look-ups are free, as in NNCF's counter, which
    LoNAS reports with.
    """
    counted, last = _counted(model, subnet, max_length)
    named = _named(counted, last)
    return CostReport.model_validate(
        {cost: named[cost] / UNITS[cost] if cost in UNITS else named[cost] for cost in model.costs}
        | {"breakdown": {count.value: counted[count] for count in MACS}, "max_length": max_length}
    )


def whole_costs(model: CostModel, subnet: SubnetConfig, max_length: int) -> dict[Cost, int]:
    """Every cost as a whole number, which `UNITS` makes the cost of."""
    return _named(*_counted(model, subnet, max_length))


def _named(counted: Mapping[Count, int], last: int) -> dict[Cost, int]:
    macs = sum(counted[count] for count in MERGED)
    return {
        Cost.GFLOPS: macs,
        Cost.PARAMS: counted[Count.PARAMS],
        Cost.NONZERO_PARAMS: counted[Count.NONZERO_PARAMS],
        Cost.TRAINABLE_PARAMS: counted[Count.TRAINABLE_PARAMS],
        Cost.TORCH_FLOPS: 2 * macs,
        Cost.GFLOPS_PER_TOKEN: last,
        Cost.WEIGHT_BYTES: counted[Count.WEIGHT_BYTES],
        Cost.KV_BYTES: counted[Count.KV_BYTES],
        Cost.ADAPTER_GFLOPS: counted[Count.ADAPTERS],
        Cost.ADAPTER_BYTES: counted[Count.ADAPTER_BYTES],
    }


def _counted(
    model: CostModel, subnet: SubnetConfig, max_length: int
) -> tuple[dict[Count, int], int]:
    """What all terms add up to; and the multiply-accumulates that the last token alone spends.

    Of what every token passes that token spends its own share; of attention's products, those of
    its query with all keys.
    """
    counted, last = dict.fromkeys(Count, 0), 0
    for term in model.terms:
        if subnet.meets(term.when):
            value = _value(term, subnet)
            for count in term.counts:
                counted[count] += value * max_length**term.tokens if count in BY_LENGTH else value
                if count in MERGED:
                    last += value * max_length ** max(term.tokens - 1, 0)
    return counted, last


def _value(term: Term, subnet: SubnetConfig) -> int:
    """The product of a term, without its tokens."""
    value = term.coefficient
    for name in term.amounts:
        value *= subnet.amount(name)
    for table in term.tables:
        value *= table.values[sum(places[subnet[name]] for name, places in table.places)]
    return value
