"""Rows cut into batches that are few, and padded little or not at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby


def batch_sizes(lengths: Sequence[int], token_budget: int, batch_cost: int) -> list[int]:
    """How many rows each batch takes of rows of these ``lengths``, one behind the other.

    A batch has at most ``token_budget`` tokens, padding included, or a single row. ``batch_cost``
    is what it costs besides its tokens, in tokens. Neighbours of one length stay together, and
    lengths share a batch as long as their padding costs less than a batch of their own would: so
    rows in order of their lengths are padded least.
    """
    runs = [(length, len(list(run))) for length, run in groupby(lengths)]
    sizes = []
    for first, last in _ranges(runs, token_budget, batch_cost):
        rows = sum(count for _, count in runs[first:last])
        size = max(1, token_budget // max(length for length, _ in runs[first:last]))
        sizes += [min(size, rows - start) for start in range(0, rows, size)]
    return sizes


def pack_sizes(lengths: Sequence[int], token_budget: int) -> list[int]:
    """How many rows each pack takes of rows of these ``lengths``, one behind the other.

    A pack, which needs no padding, has at most ``token_budget`` tokens, or a single row.
    """
    sizes: list[int] = []
    room = 0
    for length in lengths:
        if length > room:
            sizes.append(0)
            room = token_budget
        sizes[-1] += 1
        room -= length
    return sizes


def _ranges(
    runs: Sequence[tuple[int, int]], token_budget: int, batch_cost: int
) -> list[tuple[int, int]]:
    """The cheapest cut of ``runs``, (length, rows) each, into ranges that are padded alike.

    By dynamic programming over the number of runs that are placed already.
    """
    cheapest, begins = [0.0], [0]
    for last in range(1, len(runs) + 1):
        best, begin, rows, longest = math.inf, 0, 0, 0
        for first in reversed(range(last)):
            length, count = runs[first]
            rows, longest = rows + count, max(longest, length)
            batches = math.ceil(rows / max(1, token_budget // longest))
            cost = cheapest[first] + rows * longest + batches * batch_cost
            if cost < best:
                best, begin = cost, first
        cheapest.append(best)
        begins.append(begin)
    ranges: list[tuple[int, int]] = []
    while (last := ranges[-1][0] if ranges else len(runs)) > 0:
        ranges.append((begins[last], last))
    return ranges[::-1]
