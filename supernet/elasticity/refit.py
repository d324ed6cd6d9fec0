"""Least squares: a layer that loses some of its inputs is refitted on those that are left.

Of a linear layer ``y = W x`` with the inputs in order, the first k are kept. The matrix that comes
nearest to ``W x`` on the calibration rows is ``W C[:, :k] (C[:k, :k] + d I)^-1`` with ``C`` the sum
of ``x x^T`` over tokens (as Frantar & Alistarh 2022, "Optimal Brain Compression", section 3, solve
it for single weights). ``d`` is a share of the mean of C's diagonal: a little keeps the system from
fitting the calibration rows alone.

A matrix is for one width: it is no prefix of another's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn
from transformers import PreTrainedModel

from elasticnas.supernet.elasticity.axes import axes_of
from elasticnas.supernet.plan import ModelShape

DAMPING = 0.01


class Covariances:
    """``sums`` (inputs, inputs) of ``x x^T`` of the layers that read an axis, by module name.

    In float64 on the CPU.
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

    def _add(self, reader: str, _: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        inputs = given[0].detach().flatten(0, -2).double()
        products = (inputs.T @ inputs).cpu()
        self.sums[reader] = self.sums[reader] + products if reader in self.sums else products


def refitted(
    weight: torch.Tensor, covariance: torch.Tensor, kept: int, damping: float = DAMPING
) -> torch.Tensor:
    """What the first ``kept`` columns of ``weight`` (outputs, inputs) become, in its dtype.

    ``covariance`` (inputs, inputs) has its inputs in the same order as ``weight``.
    """
    inner = covariance[:kept, :kept]
    damped = inner + damping * covariance.diagonal().mean() * torch.eye(kept, dtype=inner.dtype)
    lost = weight[:, kept:].double() @ covariance[kept:, :kept]
    added: torch.Tensor = torch.linalg.solve(damped, lost.T).T
    return (weight[:, :kept].double() + added).to(weight.dtype)
