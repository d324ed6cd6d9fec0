"""Scaled dot-product attention (Vaswani et al. 2017, section 3.2.1): FlexiBERT's ``sa sdp``."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from elasticnas.supernet.operations.operation import Operation, Product


def split_heads(projected: torch.Tensor, head_size: int) -> torch.Tensor:
    """(rows, tokens, heads * head size) as (rows, heads, tokens, head size)."""
    return projected.view(*projected.shape[:-1], -1, head_size).transpose(1, 2)


def join_heads(context: torch.Tensor) -> torch.Tensor:
    """The inverse of `split_heads`."""
    return context.transpose(1, 2).flatten(2)


class ScaledDotProduct(nn.Module):
    """``softmax(Q K^T / sqrt(d)) V``, then the output projection."""

    def forward(self, hidden: torch.Tensor, is_token: torch.Tensor, attention: Any) -> torch.Tensor:
        """``hidden`` is (rows, tokens, hidden size), ``is_token`` (rows, tokens)."""
        projections = attention.self
        query, key, value = (
            split_heads(project(hidden), attention.head_size)
            for project in (projections.query, projections.key, projections.value)
        )
        context = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=is_token[:, None, None]
        )
        output: torch.Tensor = attention.output.dense(join_heads(context))
        return output


SCALED_DOT_PRODUCT = Operation(
    name="sdp",
    make=lambda _: ScaledDotProduct(),
    projects=True,
    mixing=(Product(2, ("channels",), 2),),
)
