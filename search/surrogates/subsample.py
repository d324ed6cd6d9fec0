"""The measurements that a surrogate learns from, where there are more than it can use."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def spread_and_latest(count: int, most: int) -> NDArray[np.intp]:
    """Which ``most`` of ``count`` measurements, by rising position: shape (min(count, most),).

    Three quarters are the latest, which lie where a search is at work; a quarter is spread over the
    earlier ones.
    """
    if count <= most:
        return np.arange(count)
    earlier, latest = most // 4, most - most // 4
    before = np.linspace(0, count - latest - 1, earlier).astype(np.intp)
    return np.concatenate([before, np.arange(count - latest, count)])
