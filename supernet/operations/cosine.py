"""The orthonormal two-dimensional discrete cosine transform, type II: FlexiBERT's ``l``, ``dct``.

FlexiBERT's own is not normalised, which is some hundred times too large for the residual stream of
a pretrained model.
"""

from __future__ import annotations

import torch

from elasticnas.supernet.operations.operation import Operation, Product
from elasticnas.supernet.operations.spectra import (
    SpectralTransform,
    cosine_matrix,
    over_channels,
    places_and_lengths,
    within_rows,
)


class CosineTransform(SpectralTransform):
    """The transform over tokens and channels, then a linear layer of its own."""

    def transform(self, hidden: torch.Tensor, is_token: torch.Tensor) -> torch.Tensor:
        """The transform alone."""
        (channels,) = over_channels("dct", hidden.shape[-1], hidden.device, hidden.dtype)
        matrix = cosine_matrix(*places_and_lengths(is_token))
        return within_rows(matrix, is_token, hidden.dtype) @ (hidden @ channels.T)


COSINE = Operation(
    name="dct",
    make=lambda layer: CosineTransform(layer["hidden"]),
    projects=False,
    mixing=(Product(1, ("hidden",), 2), Product(1, ("hidden", "hidden"), 1)),
)
