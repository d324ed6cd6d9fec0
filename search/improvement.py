"""Expected hypervolume improvement when one loss is uncertain and the others are exact.

With losses ``(y, c)``, ``y`` normal and ``c`` known, the improvement of a point over a front is
``integral_y^r A(c, t) dt``, where ``A(c, t)`` is the volume that ``c`` alone dominates among the
front members whose uncertain loss is at most ``t``. A is constant between two members, so the
expectation is a sum over the strips between them of ``A * (psi(upper) - psi(lower))`` with
``psi(t) = E[max(0, t - y)]``, the expected improvement of one objective: the strips of Emmerich et
al. 2011 ("Hypervolume-based expected improvement") with all but one side known. Exact, for two and
for three objectives.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from elasticnas.search.pareto import Losses

Vector = NDArray[np.float64]


def expected_improvement(mean: Vector, std: Vector, exact: Losses, front: Losses) -> Vector:
    """The expected gain in hypervolume of n points, each on its own: shape (n,).

    ``mean`` and ``std`` (n,) describe the uncertain loss, ``exact`` (n, k) the k = 1 or 2 known
    ones, ``front`` (f, 1 + k) the front with the uncertain loss first. The reference point is all
    ones, as everywhere in this project's losses.
    """
    ordered = front[np.argsort(front[:, 0], kind="stable")]
    ordered = ordered[ordered[:, 0] < 1.0]
    edges = np.concatenate((ordered[:, 0], [1.0]))
    upper = _shortfall(edges, mean, std)
    strips = np.diff(upper, axis=1, prepend=0.0)
    return np.asarray(np.sum(strips * _own_volumes(exact, ordered[:, 1:]), axis=1))


def _shortfall(edges: Vector, mean: Vector, std: Vector) -> NDArray[np.float64]:
    """``E[max(0, t - y)]`` for every y ~ N(mean, std) (n,) and edge t (e,): shape (n, e)."""
    distance = edges[None, :] - mean[:, None]
    spread = np.maximum(std, 1e-12)[:, None]
    z = distance / spread
    density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    return np.asarray(distance * ndtr(z) + spread * density)


def _own_volumes(exact: Losses, members: Losses) -> NDArray[np.float64]:
    """What each point (n, k) dominates alone among the first 0, 1, ... f of ``members`` (f, k).

    Shape (n, f + 1).
    """
    if exact.shape[1] == 1:
        nearest = np.minimum.accumulate(np.concatenate(([1.0], members[:, 0])))
        return np.maximum(nearest[None, :] - exact, 0.0)
    counts = range(len(members) + 1)
    return np.stack([_own_area(exact, members[:count]) for count in counts], axis=1)


def _own_area(exact: Losses, members: Losses) -> Vector:
    """The area that each point (n, 2) dominates alone beside ``members`` (f, 2): shape (n,)."""
    ordered = members[np.argsort(members[:, 0], kind="stable")]
    edges = np.concatenate(([-np.inf], np.minimum(ordered[:, 0], 1.0), [1.0]))
    ceiling = np.minimum.accumulate(np.concatenate(([1.0], ordered[:, 1])))
    widths = edges[None, 1:] - np.maximum(edges[None, :-1], exact[:, :1])
    heights = ceiling[None, :] - exact[:, 1:]
    return np.asarray(np.sum(np.maximum(widths, 0.0) * np.maximum(heights, 0.0), axis=1))
