"""What an operation is: one of the ways in which tokens of a layer learn of each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

Length = Literal["hidden", "channels", "head", "kernel"]
"""What a cost grows with: the layer's hidden size, its heads' channels, one head's, the kernel."""


@dataclass(frozen=True)
class Product:
    """``coefficient * prod(lengths) * tokens ** power`` multiply-accumulates."""

    coefficient: int
    lengths: tuple[Length, ...]
    power: Literal[1, 2]


@dataclass(frozen=True)
class Operation:
    """One operation of a layer.

    ``name`` is FlexiBERT's; `model_dicts.KINDS` says of which kind it is. ``make`` builds the
    module of its own weights for a layer, of which the config says what it is made of
    (`config.FlexiBertConfig`). ``projects`` says that it reads the layer's query, key, value and
    output, which such operations share. ``mixing`` is what it costs beside linear layers, as it is
    executed.
    """

    name: str
    make: Callable[[Mapping[str, Any]], nn.Module]
    projects: bool
    mixing: tuple[Product, ...]
    has_kernel: bool = False
