"""The real part of a Fourier transform over tokens and channels.

Lee-Thorp et al. 2022, "FNet", section 3.2. FlexiBERT's ``l dft``, but unitary times sqrt(2), so
that its outcome is as large as what it is given, and over a row's own tokens alone.
"""

from __future__ import annotations

import torch

from elasticnas.supernet.operations.operation import Operation, Product
from elasticnas.supernet.operations.spectra import (
    SpectralTransform,
    fourier_parts,
    over_channels,
    places_and_lengths,
    within_rows,
)


class FourierTransform(SpectralTransform):
    """``Re(F_tokens x F_channels) sqrt(2)``, then a linear layer of its own.

    As two dense products a part: ``C x C' - S x S'`` of cosines and sines.
    """

    def transform(self, hidden: torch.Tensor, is_token: torch.Tensor) -> torch.Tensor:
        """The transform alone."""
        cosines, sines = over_channels("dft", hidden.shape[-1], hidden.device, hidden.dtype)
        parts = fourier_parts(*places_and_lengths(is_token))
        real, imaginary = (within_rows(part, is_token, hidden.dtype) for part in parts)
        return 2**0.5 * (real @ (hidden @ cosines) - imaginary @ (hidden @ sines))


FOURIER = Operation(
    name="dft",
    make=lambda layer: FourierTransform(layer["hidden"]),
    projects=False,
    mixing=(Product(2, ("hidden",), 2), Product(2, ("hidden", "hidden"), 1)),
)
