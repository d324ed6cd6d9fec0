"""Span-based dynamic convolution (Jiang et al. 2020, "ConvBERT", section 3.2): FlexiBERT's ``c``.

Query, value and output are the layer's own; its key reads what a depthwise convolution gives, as
the pointwise part of a separable one. Of ConvBERT's mixed attention this is the convolution alone,
with a generator of kernels for each head, so that heads can be left out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from elasticnas.supernet.operations.operation import Operation, Product
from elasticnas.supernet.operations.scaled_dot_product import join_heads, split_heads


def places_of_taps(kernel: int) -> list[int]:
    """Where each place of a kernel's window, from left to right, is among the stored taps.

    Taps are stored from the middle outwards (0, -1, 1, -2, 2, ...), so that the first 5 of 9 are
    the kernel of 5: a smaller kernel is a prefix, as any other cut.
    """
    reach = kernel // 2
    return [abs(2 * offset) - (offset < 0) for offset in range(-reach, reach + 1)]


class DepthwiseTaps(nn.Module):
    """``weight`` (hidden size, kernel): a kernel for each channel."""

    def __init__(self, hidden: int, kernel: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(hidden, kernel))
        nn.init.ones_(self.weight[:, :1].detach())


class KernelGenerator(nn.Module):
    """``weight`` (heads, kernel, head size) and ``bias`` (heads, kernel)."""

    def __init__(self, heads: int, kernel: int, head_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.02 * torch.randn(heads, kernel, head_size))
        self.bias = nn.Parameter(torch.zeros(heads, kernel))


class DynamicConvolution(nn.Module):
    """A convolution over tokens whose kernel, of each token and head, the token itself gives."""

    def __init__(self, hidden: int, heads: int, head_size: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = DepthwiseTaps(hidden, kernel)
        self.generator = KernelGenerator(heads, kernel, head_size)

    def forward(self, hidden: torch.Tensor, is_token: torch.Tensor, attention: Any) -> torch.Tensor:
        """``hidden`` is (rows, tokens, hidden size), ``is_token`` (rows, tokens)."""
        projections, size = attention.self, attention.head_size
        there = is_token[..., None].to(hidden.dtype)  # beyond a row's end there are zeros
        taps = self.depthwise.weight
        places = places_of_taps(taps.shape[1])
        reach = taps.shape[1] // 2
        local = functional.conv1d(
            (hidden * there).transpose(1, 2),
            taps[:, places].unsqueeze(1),
            padding=reach,
            groups=taps.shape[0],
        ).transpose(1, 2)
        spans = split_heads(projections.key(local) * projections.query(hidden), size)
        weight, bias = self.generator.weight[:, places], self.generator.bias[:, places]
        kernels = torch.softmax(spans @ weight.transpose(1, 2) + bias[:, None], dim=-1)
        value = split_heads(projections.value(hidden) * there, size)
        windows = functional.pad(value, (0, 0, reach, reach)).unfold(2, taps.shape[1], 1)
        context = (windows @ kernels.unsqueeze(-1)).squeeze(-1)
        output: torch.Tensor = attention.output.dense(join_heads(context))
        return output


DYNAMIC_CONVOLUTION = Operation(
    name="conv",
    make=lambda layer: DynamicConvolution(
        layer["hidden"], layer["heads"], layer["head_size"], layer["kernel"]
    ),
    projects=True,
    has_kernel=True,
    mixing=(Product(1, ("hidden", "kernel"), 1), Product(2, ("channels", "kernel"), 1)),
)
