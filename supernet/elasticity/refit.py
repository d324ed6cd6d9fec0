"""Least squares: a layer that loses some of its inputs is refitted on those that are left.

Of a linear layer ``y = W x`` with the inputs in order, the first k are kept. The matrix that comes
nearest to ``W x`` on the calibration rows is ``W C[:, :k] (C[:k, :k] + d I)^-1`` with ``C`` the sum
of ``x x^T`` over tokens (as Frantar & Alistarh 2022, "Optimal Brain Compression", section 3, solve
it for single weights). ``d`` is a share of the mean of C's diagonal: a little keeps the system from
fitting the calibration rows alone.

A matrix is for one width: it is no prefix of another's. With ``C + d I = L L^T`` it is
``W[:, :k] + W[:, k:] L[k:, :k] L[:k, :k]^-1``, so that one decomposition serves all widths.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from transformers import PreTrainedModel

from elasticnas.supernet.elasticity.axes import Axis, axes_of, cuts_along
from elasticnas.supernet.elasticity.reorder import Reordering
from elasticnas.supernet.plan import ModelShape

DAMPING = 0.01
_STATE = "covariance."


class Covariances:
    """``sums`` (inputs, inputs) of ``x x^T`` of the layers that read an axis, by module name.

    In float64 on the CPU; the products of a batch are in float32.
    """

    def __init__(self, model: PreTrainedModel, shape: ModelShape) -> None:
        self._model = model
        self._readers = [shape.family.module(axis.layer, axis.reader) for axis in axes_of(shape)]
        self.sums: dict[str, torch.Tensor] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within it the model runs rows, without padding."""
        hooks = [
            self._model.get_submodule(reader).register_forward_pre_hook(partial(self._add, reader))
            for reader in self._readers
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def state(self) -> dict[str, torch.Tensor]:
        """All sums by name, from which `restore` goes on."""
        return {f"{_STATE}{reader}": sums for reader, sums in self.sums.items()}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        """Go on from the sums among a `state`."""
        self.sums = {
            name.removeprefix(_STATE): sums
            for name, sums in state.items()
            if name.startswith(_STATE)
        }

    def _add(self, reader: str, _: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        inputs = given[0].detach().flatten(0, -2).float()
        products = (inputs.T @ inputs).cpu().double()
        self.sums[reader] = self.sums[reader] + products if reader in self.sums else products


def refitted(
    weight: torch.Tensor,
    covariance: torch.Tensor,
    widths: Collection[int],
    damping: float = DAMPING,
) -> dict[int, torch.Tensor]:
    """What the first columns of ``weight`` (outputs, inputs) become at each of ``widths``.

    In its dtype. ``covariance`` (inputs, inputs) has its inputs in the same order as ``weight``.
    """
    share = (damping * covariance.diagonal().mean()).clamp(min=torch.finfo(torch.float64).tiny)
    lower = torch.linalg.cholesky(covariance + share * torch.eye(len(covariance)).to(covariance))
    whole = weight.double()
    found = {}
    for width in widths:
        lost = whole[:, width:] @ lower[width:, :width]
        added = torch.linalg.solve_triangular(lower[:width, :width], lost, upper=False, left=False)
        found[width] = (whole[:, :width] + added).to(weight.dtype)
    return found


def refits_of(
    tensors: Mapping[str, torch.Tensor],
    covariances: Mapping[str, torch.Tensor],
    shape: ModelShape,
    reordering: Reordering,
    widths: Mapping[Axis, Collection[int]],
) -> dict[str, dict[int, torch.Tensor]]:
    """The matrices of all layers that read an axis at these widths, by name and columns.

    ``tensors`` and ``covariances`` (of `Covariances`) are of the model before it is put into order.
    """
    found = {}
    for axis, choices in widths.items():
        module = shape.family.module(axis.layer, axis.reader)
        name = f"{module}.weight"
        # Its rows and its columns move as the columns of the weight do.
        columns = reordering(name, covariances[module])
        covariance = reordering(name, columns.T.contiguous())
        (cut,) = (each for each in cuts_along(shape, axis) if each.tensor == name)
        weight = reordering(name, tensors[name].detach().cpu())
        found[name] = refitted(weight, covariance, [cut.unit * width for width in choices])
    return found
