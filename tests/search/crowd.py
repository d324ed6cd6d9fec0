"""Rows of unequal difficulty, and which of them subnets of one super-network get right."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from elasticnas.search.races.course import Bits

ROWS = 600


def hits(ability: float, seed: int, rows: int = ROWS) -> Bits:
    """What a subnet of this ability gets right; near its limit chance decides.

    Half of the rows everybody gets right, a tenth nobody does.
    """
    easy, hard = rows // 2, rows // 10
    middle = np.random.default_rng(0).random(rows - easy - hard)
    difficulty = np.concatenate([np.full(easy, -9.0), np.full(hard, 9.0), middle])
    order = np.random.default_rng(1).permutation(rows)
    chance = np.random.default_rng(seed).normal(0.0, 0.12, rows)
    return np.asarray((difficulty + chance < ability)[order])


def seed_of(subnet: Mapping[str, int]) -> int:
    """The same for equal subnets."""
    text = repr(sorted(subnet.items()))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
