"""Causal attention on packs, by the stock model's own blocks.

Transformers' decoders leave attention to a function that is looked up by name (its
"AttentionInterface"), and hand on to it what the model is called with: so a block of any family
that does so runs on packs with its own projections, norms and rotary positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from elasticnas.supernet.forward.packs import Packing, causal_attention_within_rows

PACKS = "elasticnas_packs"


@contextmanager
def attending_in_packs(model: nn.Module) -> Iterator[None]:
    """Within it, the model (or one that shares its config) attends within the rows of packs."""
    config: Any = model.config
    before = config._attn_implementation
    config._attn_implementation = PACKS
    try:
        yield
    finally:
        config._attn_implementation = before


def _attend(
    _: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    _attention_mask: None,
    *,
    packing: Packing,
    scaling: float,
    sliding_window: int | None = None,
    **__: object,
) -> tuple[torch.Tensor, None]:
    """All have shape (1, heads, tokens, head size); what is given (1, tokens, heads, head size)."""
    context = causal_attention_within_rows(
        query[0].transpose(0, 1),
        key[0].transpose(0, 1),
        value[0].transpose(0, 1),
        packing,
        scale=scaling,
        window=sliding_window,
    )
    return context[None], None


def _no_mask(*_: object, **__: object) -> None:
    """Which tokens see which follows from the packing alone."""


AttentionInterface.register(PACKS, _attend)
AttentionMaskInterface.register(PACKS, _no_mask)
