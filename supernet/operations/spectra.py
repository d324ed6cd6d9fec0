"""Cosines of a transform over the tokens of rows of different lengths, and over channels.

A transform over a padded row would depend on the padding, and so on the batch that a row is in. So
each row has the matrix of its own length, zero outside; FlexiBERT's own code transforms the padding
too.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import lru_cache
from typing import Any

import torch
from torch import nn


class SpectralTransform(nn.Module):
    """A transform over tokens and channels, then a linear layer of its own."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden, hidden)

    def forward(
        self, hidden: torch.Tensor, is_token: torch.Tensor, _attention: Any
    ) -> torch.Tensor:
        """``hidden`` is (rows, tokens, hidden size), ``is_token`` (rows, tokens)."""
        output: torch.Tensor = self.dense(self.transform(hidden, is_token))
        return output

    @abstractmethod
    def transform(self, hidden: torch.Tensor, is_token: torch.Tensor) -> torch.Tensor:
        """The transform alone."""


def places_and_lengths(is_token: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The place of each token in its row (rows, tokens), and the rows' lengths (rows, 1, 1)."""
    counted = is_token.long()
    lengths = counted.sum(1).clamp(min=1)[:, None, None]
    return (counted.cumsum(1) - 1) * counted, lengths


def within_rows(matrix: torch.Tensor, is_token: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """``matrix`` (rows, tokens, tokens) with zeros for all that is padding."""
    both = is_token[:, :, None] & is_token[:, None, :]
    return (matrix * both).to(dtype)


def angle(numerator: torch.Tensor, period: torch.Tensor) -> torch.Tensor:
    """``2 pi numerator / period``, reduced in whole numbers, so that long rows lose no digits."""
    return (numerator % period).float() * (2 * math.pi / period.float())


def fourier_parts(places: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Real part and minus the imaginary part of the unitary DFT, (rows, tokens, tokens)."""
    angles = angle(places[:, :, None] * places[:, None, :], lengths)
    scale = lengths.float() ** -0.5
    return torch.cos(angles) * scale, torch.sin(angles) * scale


def cosine_matrix(places: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The orthonormal DCT-II, (rows, tokens, tokens): frequencies by tokens."""
    frequency, place = places[:, :, None], places[:, None, :]
    cosines = torch.cos(angle(frequency * (2 * place + 1), 4 * lengths))
    first = torch.where(frequency == 0, 0.5**0.5, 1.0)
    return cosines * first * (2.0 / lengths.float()) ** 0.5


def over_channels(
    kind: str, channels: int, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, ...]:
    """The matrices (channels, channels) of a transform over all channels."""
    if torch.compiler.is_exporting():  # a tracer's tensors hold no numbers: nobody may find them
        return _matrices(kind, channels, device, dtype)
    return _kept_matrices(kind, channels, device, dtype)


@lru_cache(maxsize=64)
def _kept_matrices(
    kind: str, channels: int, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, ...]:
    with torch.inference_mode(mode=False), torch.no_grad():
        return _matrices(kind, channels, device, dtype)


def _matrices(
    kind: str, channels: int, device: torch.device, dtype: torch.dtype
) -> tuple[torch.Tensor, ...]:
    places = torch.arange(channels, device=device)[None]
    lengths = torch.full((1, 1, 1), channels, device=device)
    found = fourier_parts(places, lengths) if kind == "dft" else (cosine_matrix(places, lengths),)
    return tuple(matrix[0].to(dtype) for matrix in found)
