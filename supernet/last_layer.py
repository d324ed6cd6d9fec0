"""The last encoder layer, computed only for the token that the head sees.

A head for sequence classification reads the first token alone. What the last layer makes of all
others is never looked at: they are needed as keys and values, and for nothing else.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from elasticnas.supernet.architectures import Architecture
from elasticnas.supernet.layer_parts import LayerParts, running_as
from elasticnas.supernet.packing import Packing, attention_within_rows


def for_first_token(layer: nn.Module, architecture: Architecture, head_size: int) -> nn.Module:
    """An encoder layer that returns the hidden state of each row's first token, (rows, 1, hidden).

    It shares everything with ``layer``, also the names of its tensors. For inference only.
    """
    return running_as(layer, architecture, head_size, _forward)


def _forward(
    parts: LayerParts,
    hidden: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *_: object,
    packing: Packing | None = None,
    **__: object,
) -> torch.Tensor:
    """``hidden`` is (rows, tokens, hidden), or (1, tokens, hidden) packed as ``packing`` says.

    ``attention_mask`` is None or of shape (rows, 1, queries, keys), boolean or additive.
    """
    if packing is not None:
        return _packed(parts, hidden[0], packing)
    first = hidden[:, :1]
    context = functional.scaled_dot_product_attention(
        parts.heads("query", first).transpose(1, 2),
        parts.heads("key", hidden).transpose(1, 2),
        parts.heads("value", hidden).transpose(1, 2),
        attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
    )
    return parts.after_attention(context.transpose(1, 2), first)


def _packed(parts: LayerParts, hidden: torch.Tensor, packing: Packing) -> torch.Tensor:
    first = hidden.index_select(0, packing.firsts)
    context = attention_within_rows(
        parts.heads("query", first),
        parts.heads("key", hidden),
        parts.heads("value", hidden),
        queries=packing.of_firsts,
        keys=packing,
    )
    return parts.after_attention(context, first).unsqueeze(1)
