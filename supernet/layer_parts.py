"""The parts of an encoder layer, to run it otherwise than Transformers does.

What they are called with has shape (..., hidden): any axes may come before the hidden state.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from elasticnas.supernet.architectures import BERT, DISTILBERT, ROBERTA, Architecture


@dataclass(frozen=True)
class LayerParts:
    """``layer`` is one of an ``architecture``; ``head_size`` are the channels of a head.

    For inference only: there is no dropout between attention and its values.
    """

    layer: nn.Module
    architecture: Architecture
    head_size: int

    def heads(self, role: str, hidden: torch.Tensor) -> torch.Tensor:
        """Queries, keys or values, as ``role`` says: shape (..., heads, head size)."""
        module = self.layer.get_submodule(getattr(self.architecture, role))
        projected: torch.Tensor = module(hidden)
        return projected.view(*hidden.shape[:-1], -1, self.head_size)

    def after_attention(self, context: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """The layer's output: attention's output, the residuals, norms and feed-forward network.

        ``context`` (..., heads, head size) is what attention gave for the tokens of ``hidden``.
        """
        return _AFTER_ATTENTION[self.architecture](self.layer, context.flatten(-2), hidden)


def running_as(
    layer: nn.Module,
    architecture: Architecture,
    head_size: int,
    forward: Callable[..., torch.Tensor],
) -> nn.Module:
    """A twin of ``layer`` that runs ``forward``, which is given the layer's parts first.

    It shares everything else with ``layer``, also the names of its tensors.
    """
    twin = copy.copy(layer)
    twin.__dict__["forward"] = partial(forward, LayerParts(layer, architecture, head_size))
    return twin


def _bert(layer: nn.Module, context: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    attended = layer.get_submodule("attention.output")(context, hidden)
    output: torch.Tensor = layer.get_submodule("output")(
        layer.get_submodule("intermediate")(attended), attended
    )
    return output


def _distilbert(layer: nn.Module, context: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    projected = layer.get_submodule("attention.out_lin")(context)
    attended = layer.get_submodule("sa_layer_norm")(projected + hidden)
    output: torch.Tensor = layer.get_submodule("output_layer_norm")(
        layer.get_submodule("ffn")(attended) + attended
    )
    return output


_AFTER_ATTENTION: dict[
    Architecture, Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]
] = {BERT: _bert, ROBERTA: _bert, DISTILBERT: _distilbert}
