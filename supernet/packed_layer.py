"""An encoder layer on packed rows: the stock one's parts, with attention within each row."""

from __future__ import annotations

import torch
from torch import nn

from elasticnas.supernet.architectures import Architecture
from elasticnas.supernet.layer_parts import LayerParts, running_as
from elasticnas.supernet.packing import Packing, attention_within_rows


def for_packs(layer: nn.Module, architecture: Architecture, head_size: int) -> nn.Module:
    """An encoder layer that takes packs as well; on padded rows it is ``layer`` itself.

    It shares everything with ``layer``, also the names of its tensors. For inference only.
    """
    return running_as(layer, architecture, head_size, _forward)


def _forward(
    parts: LayerParts,
    hidden: torch.Tensor,
    *others: object,
    packing: Packing | None = None,
    **named: object,
) -> torch.Tensor:
    """``hidden`` is (rows, tokens, hidden), or (1, tokens, hidden) packed as ``packing`` says."""
    if packing is None:
        output: torch.Tensor = parts.layer.forward(hidden, *others, **named)
        return output
    tokens = hidden[0]
    query, key, value = (parts.heads(role, tokens) for role in ("query", "key", "value"))
    context = attention_within_rows(query, key, value, queries=packing, keys=packing)
    return parts.after_attention(context, tokens).unsqueeze(0)
