"""Reordering: the units of an axis are put into another order, in all tensors that know them.

A prefix of a reordered axis is then any set of units that an order begins with: what EFTNAS (Munoz
et al. 2024, section 3.2) does once before it trains. Heads keep the order of their channels, and a
key-value head takes the query heads that it serves along. What the full model computes stays what
it was, but for the order of sums.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.elasticity.axes import Orders, axes_of, cuts_along
from elasticnas.supernet.plan import ModelShape


class Reordering:
    """The orders of some axes of a model, as what becomes of each tensor.

    Raises:
        InputError: an order is no permutation of its axis's units, or the model has no such axis.
    """

    def __init__(self, shape: ModelShape, orders: Orders) -> None:
        units = axes_of(shape)
        self._places: dict[str, list[tuple[int, torch.Tensor]]] = {}
        for axis, order in orders.items():
            count = units.get(axis, 0)
            if not torch.equal(order.sort().values, torch.arange(count)):
                raise InputError(
                    f"the order is no permutation of the {count} units that the model has there",
                    field=axis.dimension,
                    value=f"{len(order)} places",
                )
            for cut in cuts_along(shape, axis):
                channels = order[:, None] * cut.unit + torch.arange(cut.unit)
                self._places.setdefault(cut.tensor, []).append((cut.axis, channels.flatten()))

    def __call__(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """The tensor of this name with its units in order; itself where it has none."""
        for axis, channels in self._places.get(name, ()):
            tensor = tensor.index_select(axis, channels.to(tensor.device))
        return tensor


def reorder(tensors: Mapping[str, torch.Tensor], shape: ModelShape, orders: Orders) -> None:
    """Put the units of a model's ``tensors`` (`Cut.tensor` names them) into order, in place."""
    moved = Reordering(shape, orders)
    with torch.no_grad():
        for name, tensor in tensors.items():
            if (ordered := moved(name, tensor)) is not tensor:
                tensor.copy_(ordered)
