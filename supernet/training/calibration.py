"""The rows that a model is calibrated on, in batches of rows of one length: without padding."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def calibration_groups(
    lengths: Sequence[int], rows: int, seed: int, *, tokens: int, most: int | None = None
) -> list[list[int]]:
    """So many ``rows``, drawn by the seed, in groups of one length.

    A group has at most ``tokens`` tokens, though never less than a row, and at most ``most`` rows.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(lengths), generator=generator).tolist()
    by_length: dict[int, list[int]] = {}
    for row in order[:rows]:
        by_length.setdefault(lengths[row], []).append(row)
    return [
        alike[start : start + size]
        for length, alike in sorted(by_length.items())
        for size in (max(1, min(tokens // length, most or len(alike))),)
        for start in range(0, len(alike), size)
    ]
