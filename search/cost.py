"""The cost of a subnet, analytic and exact, from the shapes of its super-network.

The unit is the papers': one multiply-accumulate counts as one operation, so BERT-base at 128 tokens
costs 11.17 GFLOPs (10.87 in linear layers, 0.30 in attention products). ``docs/costs.md`` derives
each figure. Nothing here touches weights: a cost is known before an evaluation is spent.
"""

from __future__ import annotations

from elasticnas.api_schemas.costs import CostBreakdown, CostModel, CostReport, Extent
from elasticnas.search.space import SubnetConfig


def extent(length: Extent, subnet: SubnetConfig) -> int:
    """The active length: ``unit * choice`` where a dimension cuts it, else the full one."""
    if length.dimension is None:
        return length.full
    return length.unit * subnet.amount(length.dimension)


def cost_report(model: CostModel, subnet: SubnetConfig, max_length: int) -> CostReport:
    """What ``subnet`` costs for one sequence of ``max_length`` tokens.

    A linear layer of r rows and c columns spends ``r * c`` multiply-accumulates a token; a LoRA
    branch of rank k left unmerged adds ``k * (r + c)``; attention of width w over s tokens spends
    ``2 * s^2 * w``. Biases, LayerNorms, activations, softmax and embedding look-ups are free, as in
    NNCF's counter, which LoNAS reports with.
    """
    kept = len(model.layer_params) if model.depth is None else subnet.amount(model.depth)
    linear = adapters = head = 0
    params = model.constant_params + sum(model.layer_params[:kept])
    nonzero = params
    trainable = 0
    for shape in model.linears:
        if shape.layer is not None and shape.layer >= kept:
            continue
        rows, columns = extent(shape.rows, subnet), extent(shape.columns, subnet)
        tokens = max_length if shape.tokens == "sequence" else 1
        weights = rows * columns + (rows if shape.bias else 0)
        if shape.layer is None:
            head += tokens * rows * columns
        else:
            linear += tokens * rows * columns
        params += weights
        nonzero += weights - (shape.zeros[rows][columns] if shape.zeros else 0)
        if shape.trainable:
            trainable += weights
        if shape.rank is not None:
            branch = extent(shape.rank, subnet) * (rows + columns)
            adapters += tokens * branch
            nonzero += branch
            trainable += branch
    attention = sum(
        2 * max_length**2 * extent(product.width, subnet)
        for product in model.attentions
        if product.layer < kept
    )
    macs = linear + head + attention
    return CostReport(
        gflops=macs / 1e9,
        params=params,
        nonzero_params=nonzero,
        trainable_params=trainable,
        torch_flops=2 * macs,
        breakdown=CostBreakdown(linear=linear, adapters=adapters, head=head, attention=attention),
        max_length=max_length,
    )
