"""Which measurements to learn from, when there are more than a regression has use for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def spread_and_latest(count: int, most: int) -> NDArray[np.intp]:
    """Which ``most`` of ``count`` measurements, by rising position: shape (min(count, most),).

    The latest, which lie where a search is at work, and a quarter spread over all the earlier.
    """
    if count <= most:
        return np.arange(count)
    earlier, latest = most // 4, most - most // 4
    before = np.linspace(0, count - latest - 1, earlier).astype(np.intp)
    return np.concatenate([before, np.arange(count - latest, count)])
