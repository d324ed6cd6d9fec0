"""Whether adapters are merged into their weights or run beside them: by memory, then by time.

A merged adapter gives a subnet a weight of its own: where most layers have adapters, that is a
second model in memory. Beside its layer an adapter copies nothing, and costs time for every token
instead of once an evaluation. The two ways agree but for the rounding of sums.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch

from elasticnas.supernet.plan import Join
from elasticnas.supernet.supernet import Supernet

EVEN, EVEN_IN_16_BITS = 1.0, 4.0
"""At so many times the tokens at which both ways take as many multiply-accumulates they take as
long. Measured on one core of an AMD EPYC by ``python -m benchmarks.joins``, the median over six
shapes of layers and ranks from 4 to 64: in float32 0.84, 0.99 and 1.02 with 4096, 1024 and 256
tokens in a batch; in bfloat16, which is merged by way of float32, 4.3, 4.6 and 3.6."""


def weight_bytes(supernet: Supernet, dtype: torch.dtype) -> int:
    """What the weights take in ``dtype``, and the adapters in float32."""
    parameters = sum(each.numel() for each in supernet.model.parameters())
    parameters += sum(m.numel() for each in supernet.refits.values() for m in each.values())
    adapters = supernet.adapters.values()
    return parameters * dtype.itemsize + sum(each.a.nbytes + each.b.nbytes for each in adapters)


def merged_bytes(supernet: Supernet, dtype: torch.dtype) -> int:
    """What a subnet's merged weights take in ``dtype``: at most, which is in the maximal one."""
    merged = supernet.adapters.keys() - supernet.unmerged
    return sum(prod(supernet.tensors[f"{module}.weight"].shape) for module in merged) * (
        dtype.itemsize
    )


def even_tokens(supernet: Supernet) -> float:
    """How many tokens an evaluation must have for merging to be as fast; infinity for no adapter.

    Merging an adapter of rank r takes ``outputs * inputs * r`` multiply-accumulates, running it
    beside its layer ``(outputs + inputs) * r`` for each token.
    """
    merging = beside = 0
    for adapter in supernet.adapters.values():
        (rank, inputs), outputs = adapter.a.shape, len(adapter.b)
        merging += outputs * inputs * rank
        beside += (outputs + inputs) * rank
    factor = EVEN if supernet.model.dtype.itemsize >= 4 else EVEN_IN_16_BITS
    return factor * merging / beside if beside else float("inf")


def joined_for(supernet: Supernet, *, tokens: int, limit_bytes: int) -> Supernet:
    """The super-network with its adapters as suits evaluations of ``tokens`` tokens.

    They stay beside their layers where merged weights and the super-network's own together would
    take more than ``limit_bytes``; plain ones also where evaluations are so short that merging
    takes longer. Masked ones have no short way, for the mask is of the product ``B A``: where there
    is no room they are merged layer by layer, in every batch. What is decided depends on these
    numbers alone, so all evaluations of a search are made in one way on workers of one size.
    """
    dtype = supernet.model.dtype
    has_room = weight_bytes(supernet, dtype) + merged_bytes(supernet, dtype) <= limit_bytes
    beside = {Join.PLAIN: Join.UNMERGED}
    if not has_room:
        beside[Join.MASKED] = Join.MASKED_IN_TURN
    elif tokens >= even_tokens(supernet):
        return supernet
    adapters = {
        module: replace(adapter, join=beside.get(adapter.join, adapter.join))
        for module, adapter in supernet.adapters.items()
    }
    return replace(supernet, adapters=adapters)
