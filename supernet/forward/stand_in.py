"""What stands where a part of a block is left out."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class StandIn(nn.Module):
    """Gives what it is given, or zero where its outcome is added to something.

    ``gives`` is ``same`` or ``zero``, with ``, none`` behind it in the place of an attention, which
    gives its weights as well.

    In the place of an attention that keeps keys and values, ``layer`` is its place in their cache.
    One number a token is kept there: a stock model asks the cache of its first layer how many
    tokens were read.
    """

    def __init__(self, gives: str, layer: int | None = None) -> None:
        super().__init__()
        self.gives = gives
        self.layer = layer

    def forward(self, hidden_states: torch.Tensor, *_: object, **named: Any) -> object:
        """``hidden_states`` has any shape; a zero has none, and is added to any."""
        cache = named.get("past_key_values", named.get("layer_past"))
        if self.layer is not None and cache is not None:
            kept = hidden_states[:, None, :, :1]
            cache.update(kept, kept, self.layer)
        is_zero = self.gives.startswith("zero")
        given = hidden_states.new_zeros(()) if is_zero else hidden_states
        return (given, None) if self.gives.endswith("none") else given
