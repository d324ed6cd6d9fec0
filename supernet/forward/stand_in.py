"""What stands where a part of a block is left out."""

from __future__ import annotations

import torch
from torch import nn


class StandIn(nn.Module):
    """Gives what it is given, or zero where its outcome is added to something.

    ``gives`` is ``same`` or ``zero``, with ``, none`` behind it in the place of an attention, which
    gives its weights as well.
    """

    def __init__(self, gives: str) -> None:
        super().__init__()
        self.gives = gives

    def forward(self, hidden_states: torch.Tensor, *_: object, **__: object) -> object:
        """``hidden_states`` has any shape; a zero has none, and is added to any."""
        is_zero = self.gives.startswith("zero")
        given = hidden_states.new_zeros(()) if is_zero else hidden_states
        return (given, None) if self.gives.endswith("none") else given
