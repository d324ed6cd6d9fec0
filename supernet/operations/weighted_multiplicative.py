"""Weighted multiplicative attention (Luong et al. 2015, "general"): FlexiBERT's ``sa wma``."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from elasticnas.supernet.operations.operation import Operation, Product
from elasticnas.supernet.operations.scaled_dot_product import join_heads, split_heads


class WeightedMultiplicative(nn.Module):
    """``softmax(Q W K^T / sqrt(d)) V``: one ``weight`` (d, d), which all heads of a layer share.

    With the identity it is the scaled dot product.
    """

    def __init__(self, head_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.eye(head_size))

    def forward(self, hidden: torch.Tensor, is_token: torch.Tensor, attention: Any) -> torch.Tensor:
        """``hidden`` is (rows, tokens, hidden size), ``is_token`` (rows, tokens)."""
        projections = attention.self
        query, key, value = (
            split_heads(project(hidden), attention.head_size)
            for project in (projections.query, projections.key, projections.value)
        )
        context = functional.scaled_dot_product_attention(
            query @ self.weight, key, value, attn_mask=is_token[:, None, None]
        )
        output: torch.Tensor = attention.output.dense(join_heads(context))
        return output


WEIGHTED_MULTIPLICATIVE = Operation(
    name="wma",
    make=lambda layer: WeightedMultiplicative(layer["head_size"]),
    projects=True,
    mixing=(Product(2, ("channels",), 2), Product(1, ("channels", "head"), 1)),
)
