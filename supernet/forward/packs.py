"""Rows laid end to end, without padding, and attention within each of them.

Dao 2023, "FlashAttention-2", whose kernel takes rows of any lengths in one call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import accumulate
from typing import cast

import torch
from torch.backends.cuda import SDPAParams, can_use_flash_attention
from torch.nn import functional
from torch.nn.attention.varlen import varlen_attn

from elasticnas.supernet.transfer import sent_to


@dataclass(frozen=True)
class Packing:
    """Where rows lie that were laid end to end.

    Row i is the tokens from ``bounds[i]`` to ``bounds[i + 1]``; ``bounds`` (rows + 1,) is int32, on
    the tokens' device. ``lengths`` (rows) are known on the host as well, so that it need not wait
    for the device to tell.
    """

    bounds: torch.Tensor
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, lengths: tuple[int, ...]) -> Packing:
        """Rows of these lengths, on the CPU."""
        bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        return cls(bounds, lengths)

    def to(self, device: torch.device) -> Packing:
        """This packing on ``device``."""
        return Packing(sent_to(device, self.bounds), self.lengths)

    @cached_property
    def longest(self) -> int:
        """The tokens of the longest row."""
        return max(self.lengths)

    @property
    def firsts(self) -> torch.Tensor:
        """The place of each row's first token, shape (rows,)."""
        return self.bounds[:-1]

    @cached_property
    def of_firsts(self) -> Packing:
        """As many rows of one token each."""
        rows = len(self.lengths)
        bounds = torch.arange(rows + 1, dtype=torch.int32, device=self.bounds.device)
        return Packing(bounds, (1,) * rows)


def attention_within_rows(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    queries: Packing,
    keys: Packing,
) -> torch.Tensor:
    """Attention of the queries of each row to that row's keys, shape of ``query``.

    ``query`` (tokens, heads, head size) is packed by ``queries``; ``key`` and ``value``, likewise,
    by ``keys``.
    """
    if has_kernel(query.device, query.dtype, query.shape[-1]):
        attended = varlen_attn(
            query, key, value, queries.bounds, keys.bounds, queries.longest, keys.longest
        )
        return cast(torch.Tensor, attended)
    attend = functional.scaled_dot_product_attention
    return _row_by_row(attend, query, key, value, queries, keys)


def causal_attention_within_rows(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    packing: Packing,
    *,
    scale: float,
    window: int | None = None,
) -> torch.Tensor:
    """Attention of each token to itself and those before it in its row, shape of ``query``.

    ``query`` (tokens, heads, head size), ``key`` and ``value`` (tokens, key-value heads, head size)
    are packed by ``packing``. A token sees at most ``window`` tokens, itself included.
    """
    shares_keys = query.shape[1] != key.shape[1]
    if has_kernel(query.device, query.dtype, query.shape[-1]):
        bounds, longest = packing.bounds, packing.longest
        attended = varlen_attn(
            query,
            key,
            value,
            bounds,
            bounds,
            longest,
            longest,
            scale=scale,
            # The kernel counts the tokens before a token, without itself.
            window_size=(-1 if window is None else window - 1, 0),
            enable_gqa=shares_keys,
        )
        return cast(torch.Tensor, attended)
    attend = partial(_causal_row, window=window, scale=scale, enable_gqa=shares_keys)
    return _row_by_row(attend, query, key, value, packing, packing)


def _row_by_row(
    attend: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    queries: Packing,
    keys: Packing,
) -> torch.Tensor:
    rows = zip(
        query.transpose(0, 1).split_with_sizes(queries.lengths, dim=1),
        key.transpose(0, 1).split_with_sizes(keys.lengths, dim=1),
        value.transpose(0, 1).split_with_sizes(keys.lengths, dim=1),
        strict=True,
    )
    return torch.cat([attend(*row) for row in rows], dim=1).transpose(0, 1)


def _causal_row(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    window: int | None,
    scale: float,
    enable_gqa: bool,
) -> torch.Tensor:
    """Attention within one row: ``query`` has shape (heads, tokens, head size)."""
    attend = partial(functional.scaled_dot_product_attention, scale=scale, enable_gqa=enable_gqa)
    # Torch shares keys among query heads only where there is an axis of rows.
    row = query[None], key[None], value[None]
    if window is None or window >= query.shape[1]:
        return attend(*row, is_causal=True)[0]
    places = torch.arange(query.shape[1], device=query.device)
    distance = places[:, None] - places
    return attend(*row, attn_mask=(distance >= 0) & (distance < window))[0]


@cache
def has_kernel(device: torch.device, dtype: torch.dtype, head_size: int) -> bool:
    """Whether one kernel attends within all rows of a pack there.

    Elsewhere `attention_within_rows` goes row by row: as exact, but slower than padding.
    """
    # The dense attention pads heads to eight channels; this one is not said to.
    if device.type != "cuda" or head_size % 8:
        return False
    probe = torch.empty(1, 1, 1, head_size, dtype=dtype, device=device)
    return can_use_flash_attention(SDPAParams(probe, probe, probe, None, 0.0, False, False))
