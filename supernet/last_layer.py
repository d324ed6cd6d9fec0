"""The last encoder layer, computed only for the token that the head sees.

A head for sequence classification reads the first token alone. What the last layer makes of all
others is never looked at: they are needed as keys and values, and for nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from supernet.architectures import BERT, DISTILBERT, ROBERTA, Architecture


def for_first_token(layer: nn.Module, architecture: Architecture, head_size: int) -> nn.Module:
    """An encoder layer that returns the hidden state of the first token, shape (batch, 1, hidden).

    It shares everything with ``layer``, also the names of its tensors. For inference only: there is
    no dropout between attention and its values.
    """
    twin = copy.copy(layer)
    twin.__dict__["forward"] = partial(_forward, layer, architecture, head_size)
    return twin


def _forward(
    layer: nn.Module,
    architecture: Architecture,
    head_size: int,
    hidden: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    *_: object,
    **__: object,
) -> torch.Tensor:
    """``attention_mask`` is None or of shape (batch, 1, queries, keys), boolean or additive."""
    first = hidden[:, :1]

    def heads(role: str, inputs: torch.Tensor) -> torch.Tensor:
        projected: torch.Tensor = layer.get_submodule(getattr(architecture, role))(inputs)
        return projected.view(*inputs.shape[:2], -1, head_size).transpose(1, 2)

    context = functional.scaled_dot_product_attention(
        heads("query", first),
        heads("key", hidden),
        heads("value", hidden),
        attn_mask=None if attention_mask is None else attention_mask[:, :, :1],
    )
    return _AFTER_ATTENTION[architecture](layer, context.transpose(1, 2).flatten(2), first)


def _bert(layer: nn.Module, context: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    attended = layer.get_submodule("attention.output")(context, first)
    output: torch.Tensor = layer.get_submodule("output")(
        layer.get_submodule("intermediate")(attended), attended
    )
    return output


def _distilbert(layer: nn.Module, context: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    projected = layer.get_submodule("attention.out_lin")(context)
    attended = layer.get_submodule("sa_layer_norm")(projected + first)
    output: torch.Tensor = layer.get_submodule("output_layer_norm")(
        layer.get_submodule("ffn")(attended) + attended
    )
    return output


_AFTER_ATTENTION: dict[
    Architecture, Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
] = {BERT: _bert, ROBERTA: _bert, DISTILBERT: _distilbert}
"""The rest of a layer: attention's output, the residuals, norms and feed-forward network."""
