"""Which dimensions decide how good a subnet is.

PED-ANOVA: Watanabe, Bansal and Hutter 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter
Importance in Arbitrary Subspaces", with the settings of Optuna's evaluator, whose shares these are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from elasticnas.search.space import SearchSpace

FEWEST = 10
"""Subnets it takes: of fewer, the better tenth is a single one."""
BEST = 0.1
"""The share of the subnets that is compared with all of them."""
GRID = 50
"""Points at most that ordered choices are put on."""
NARROWEST = 0.5 / 1.64
"""The least width of a kernel, in choices: 90 % of it then lie on its own."""
FLOOR = 1e-12

Densities = NDArray[np.float64]


def dimension_importance(
    space: SearchSpace, choices: Sequence[Sequence[int]], values: Sequence[float]
) -> dict[str, float]:
    """How much each dimension matters for being among the best tenth; the shares add up to 1.

    ``choices`` are the encoded subnets and ``values`` what each measured, larger being better.
    PED-ANOVA asks how differently a choice is distributed among the best tenth and among all; a
    search that has looked mostly at good subnets does not mislead it.

    The largest comes first. All are 0 when nothing tells them apart.

    Raises:
        ValueError: there are fewer than `FEWEST` subnets.
    """
    if len(values) < FEWEST:
        raise ValueError(f"importance takes {FEWEST} measured subnets, found {len(values)}")
    encoded = np.asarray(choices, dtype=np.intp)
    is_best = _best(np.asarray(values, dtype=float))
    found = {
        dimension.name: _divergence(column, is_best, count, is_ordered=dimension.ordered)
        for dimension, count, column in zip(
            space.dimensions, space.cardinalities, encoded.T, strict=True
        )
    }
    total = sum(found.values())
    shares = {name: each / total if total else 0.0 for name, each in found.items()}
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _best(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which are among the best tenth; all that are as good as the last of it are, too."""
    last = int(np.ceil(BEST * len(values))) - 1
    return np.asarray(-values <= np.partition(-values, last)[last])


def _divergence(
    column: NDArray[np.intp], is_best: NDArray[np.bool_], count: int, *, is_ordered: bool
) -> float:
    """The Pearson divergence of a dimension's choices among the best from those among all."""
    if count == 1 or is_best.all():
        return 0.0
    if is_ordered:
        column, count = _on_grid(column, count)
    density = _smooth if is_ordered else _by_name
    best, among_all = (
        density(np.bincount(part, minlength=count)) + FLOOR for part in (column[is_best], column)
    )
    return float(among_all @ (best / among_all - 1) ** 2)


def _on_grid(column: NDArray[np.intp], count: int) -> tuple[NDArray[np.intp], int]:
    """Choices by the nearest of `GRID` points, and how many points there are."""
    points = min(count, GRID)
    step = (count - 1) / (points - 1)
    return np.ceil(column / step - 0.5).astype(np.intp), points


def _by_name(counts: NDArray[np.intp]) -> Densities:
    """The density of choices without an order: one kernel for each that occurs, and a flat one.

    A kernel has most of its weight on its own choice. ``counts`` is of shape (choices,), as is the
    density.
    """
    seen = np.flatnonzero(counts)
    kernels = np.full((len(seen) + 1, len(counts)), 1.0 / (len(seen) + 1))
    kernels[np.arange(len(seen)), seen] += 1.0
    kernels /= kernels.sum(axis=1, keepdims=True)
    return np.asarray(_weights(counts[seen]) @ kernels)


def _smooth(counts: NDArray[np.intp]) -> Densities:
    """The density of ordered choices: a normal kernel about each that occurs, and a wide one.

    The kernels are cut off at the ends and have their width by Scott's rule (1992), with the
    interquartile range where that is narrower.
    """
    from scipy.special import ndtr  # which takes a while: a server that starts need not wait

    seen = np.flatnonzero(counts)
    end = len(counts) - 1
    middles = np.append(seen, end / 2)
    widths = np.append(np.full(len(seen), _width(seen, counts[seen])), len(counts))
    edges = np.arange(len(counts) + 1) - 0.5
    below = ndtr((edges - middles[:, None]) / widths[:, None])
    masses = np.diff(below, axis=1) / (below[:, -1:] - below[:, :1])
    return np.asarray(_weights(counts[seen]) @ masses)


def _width(seen: NDArray[np.intp], counts: NDArray[np.intp]) -> float:
    """Of the kernels about the choices that were ``seen`` so many times each."""
    total = counts.sum()
    mean = seen @ counts / total
    deviation = np.sqrt((seen - mean) ** 2 @ counts / max(1, total - 1))
    upto = np.cumsum(counts)
    low = np.searchsorted(upto, total // 4, side="left")
    high = np.searchsorted(upto, total * 3 // 4, side="right")
    quartiles = seen[min(len(seen) - 1, high)] - seen[low]
    return float(max(NARROWEST, 1.059 * min(quartiles / 1.34, deviation) * total**-0.2))


def _weights(counts: NDArray[np.intp]) -> Densities:
    """The weight of each kernel; that of no choice in particular counts once."""
    weights = np.append(counts, 1.0)
    return np.asarray(weights / weights.sum())
