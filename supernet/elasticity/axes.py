"""The axes that a model is cut along: of every layer its attention heads and its FFN neurons.

A unit of the first is a key-value head with the query heads that it serves, of the second a neuron.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import NamedTuple

import torch

from elasticnas.api_schemas.spaces import FFN, HEADS, Half
from elasticnas.supernet.families.family import FFN_ROLES, Role, TaskHead
from elasticnas.supernet.plan import Cut, ModelShape


class Axis(NamedTuple):
    """One layer's heads (part `HEADS`) or neurons (part `FFN`)."""

    layer: int
    part: str

    @property
    def dimension(self) -> str:
        """The name of the dimension that cuts it."""
        return f"layer.{self.layer}.{'attention.heads' if self.part == HEADS else 'ffn.width'}"

    @property
    def half(self) -> Half:
        """The half of the layer that its units are in."""
        return "attention" if self.part == HEADS else "ffn"

    @property
    def reader(self) -> Role:
        """The role of the linear layer whose input channels are this axis's units."""
        return Role.ATTENTION_OUTPUT if self.part == HEADS else Role.FFN_OUT


Scores = Mapping[Axis, torch.Tensor]
"""How much each unit matters, (units,), for every axis."""

Orders = Mapping[Axis, torch.Tensor]
"""A permutation (units,) for every axis: place i is given to the old unit ``order[i]``."""

Widths = Mapping[Axis, int]
"""Units that are kept, for every axis."""


def axes_of(shape: ModelShape) -> dict[Axis, int]:
    """The axes of a model, and how many units each has: first all heads, then all neurons.

    Heads are none where the family's blocks run with all of them only.
    """
    family, config = shape.family, shape.config
    units = {FFN: family.ffn_size(config)}
    if family.has_elastic_heads:
        units = {HEADS: family.num_kv_heads(config), **units}
    return {
        Axis(layer, part): count
        for part, count in units.items()
        for layer in range(shape.num_layers)
    }


def cuts_along(shape: ModelShape, axis: Axis) -> list[Cut]:
    """The axes of tensors in which the units of an axis lie."""
    cuts = shape.head_cuts if axis.part == HEADS else shape.ffn_cuts
    return cuts(axis.dimension, axis.layer)


def descending(scores: Scores) -> dict[Axis, torch.Tensor]:
    """The orders by score, the best first; of units that score alike the earlier ones."""
    return {
        axis: torch.argsort(score, descending=True, stable=True) for axis, score in scores.items()
    }


def unit_macs(shape: ModelShape, tokens: int) -> dict[Axis, int]:
    """Multiply-accumulates of one unit of every axis at so many ``tokens``.

    Those of its weights, and of a head those of its products with queries and values too, which are
    twice the squared tokens for each channel of the queries.
    """
    macs = {}
    for axis, count in axes_of(shape).items():
        weights = {cut.tensor for cut in cuts_along(shape, axis) if cut.tensor.endswith(".weight")}
        each = sum(prod(shape.shapes[name]) for name in weights) // count * tokens
        if axis.part == HEADS:
            reader = shape.family.module(axis.layer, axis.reader)
            each += 2 * tokens * tokens * shape.head_channels(reader)
        macs[axis] = each
    return macs


def fixed_macs(shape: ModelShape, head: TaskHead, tokens: int) -> int:
    """Multiply-accumulates of the linear layers that no axis cuts: those behind the blocks.

    And of a family without elastic heads its whole attention.
    """
    macs = 0
    for module in dict.fromkeys(head.linears):
        weight = prod(shape.shapes[f"{module}.weight"])
        macs += weight * (1 if module in head.one_token else tokens)
    if shape.family.has_elastic_heads:
        return macs
    roles = [r for r in shape.family.linears if r not in (*FFN_ROLES, Role.FFN_OUT)]
    for layer in range(shape.num_layers):
        for module in shape.family.modules(layer, roles):
            macs += prod(shape.shapes[f"{module}.weight"]) * tokens
        reader = shape.family.module(layer, Role.ATTENTION_OUTPUT)
        macs += 2 * tokens * tokens * shape.shapes[f"{reader}.weight"][1]
    return macs
