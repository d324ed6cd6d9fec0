"""The cost of a subnet, analytic and exact, from the terms of its super-network.

The unit is the papers': one multiply-accumulate counts as one operation, so BERT-base at 128 tokens
costs 11.17 GFLOPs (10.87 in linear layers, 0.30 in attention products). ``docs/costs.md`` derives
each figure. Nothing here touches weights: a cost is known before an evaluation is spent.
"""

from __future__ import annotations

from elasticnas.api_schemas.costs import MACS, CostBreakdown, CostModel, CostReport, Count, Term
from elasticnas.search.space import SubnetConfig


def cost_report(model: CostModel, subnet: SubnetConfig, max_length: int) -> CostReport:
    """What ``subnet`` costs for one sequence of ``max_length`` tokens.

    Biases, norms, activations, softmax and embedding look-ups are free, as in NNCF's counter, which
    LoNAS reports with.
    """
    counted = dict.fromkeys(Count, 0)
    for term in model.terms:
        if subnet.meets(term.when):
            value = _value(term, subnet)
            for count in term.counts:
                counted[count] += value * max_length**term.tokens if count in MACS else value
    spent = CostBreakdown.model_validate({count.value: counted[count] for count in MACS})
    macs = spent.linear + spent.head + spent.attention
    return CostReport(
        gflops=macs / 1e9,
        params=counted[Count.PARAMS],
        nonzero_params=counted[Count.NONZERO_PARAMS],
        trainable_params=counted[Count.TRAINABLE_PARAMS],
        torch_flops=2 * macs,
        breakdown=spent,
        max_length=max_length,
    )


def _value(term: Term, subnet: SubnetConfig) -> int:
    """The product of a term, without its tokens."""
    value = term.coefficient
    for name in term.amounts:
        value *= subnet.amount(name)
    for table in term.tables:
        value *= table.values[sum(places[subnet[name]] for name, places in table.places)]
    return value
