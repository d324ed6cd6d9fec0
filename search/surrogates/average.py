"""Two regressions weighed by how well each predicts what it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from scipy.stats import norm

from elasticnas.search.activity import Indices
from elasticnas.search.surrogates.protocol import Posterior, Surrogate, Vector

FOLDS = 4
COMPARED_ON = 256
"""The latest measurements decide between the models; more would cost more and say no more."""


@dataclass(frozen=True)
class _Mixture:
    """A mixture of posteriors, by its first two moments."""

    members: Sequence[Posterior]
    weights: Sequence[float]

    @property
    def noise(self) -> float:
        """See `Posterior.noise`."""
        return sum(w * m.noise for w, m in zip(self.weights, self.members, strict=True))

    def marginal(self, indices: Indices) -> tuple[Vector, Vector]:
        """See `Posterior.marginal`."""
        means, stds = zip(*(m.marginal(indices) for m in self.members), strict=True)
        mean = np.average(means, axis=0, weights=self.weights)
        square = np.average(np.square(stds) + np.square(means), axis=0, weights=self.weights)
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0))

    def joint(self, indices: Indices) -> tuple[Vector, NDArray[np.float64]]:
        """See `Posterior.joint`."""
        joints = [m.joint(indices) for m in self.members]
        mean = np.average([m for m, _ in joints], axis=0, weights=self.weights)
        covariance = np.zeros((len(mean), len(mean)))
        for weight, (own, spread) in zip(self.weights, joints, strict=True):
            covariance += weight * (spread + np.outer(own - mean, own - mean))
        return mean, covariance


class Average:
    """Pseudo Bayesian model averaging (Yao et al. 2018, "Using stacking to average Bayesian
    predictive distributions", section 2): weights from the cross-validated log predictive density.
    """

    def __init__(self, members: Sequence[Surrogate]) -> None:
        self._members = members

    def tune(self, indices: Indices, losses: Vector, noise: float | None) -> tuple[float, ...]:
        """See `Surrogate.tune`: the members' weights, then for each its own count and values."""
        tuned = [member.tune(indices, losses, noise) for member in self._members]
        recent = slice(max(len(losses) - COMPARED_ON, 0), None)
        subnets, values = indices[recent], losses[recent]
        fold = np.arange(len(values)) % FOLDS
        density = np.zeros(len(self._members))
        for left_out in range(FOLDS):
            inside, outside = fold != left_out, fold == left_out
            if not outside.any() or np.std(values[inside]) == 0:
                continue
            for position, member in enumerate(self._members):
                belief = member.condition(tuned[position], subnets[inside], values[inside], noise)
                mean, std = belief.marginal(subnets[outside])
                spread = np.sqrt(std**2 + belief.noise + 1e-12)
                density[position] += norm.logpdf(values[outside], mean, spread).sum()
        weights = np.round(softmax(density), 2)
        flat = list(weights.tolist())
        for own in tuned:
            flat += [len(own), *own]
        return tuple(flat)

    def condition(
        self, tuned: tuple[float, ...], indices: Indices, losses: Vector, noise: float | None
    ) -> Posterior:
        """See `Surrogate.condition`."""
        weights, rest = tuned[: len(self._members)], list(tuned[len(self._members) :])
        kept, posteriors = [], []
        for weight, member in zip(weights, self._members, strict=True):
            count = int(rest.pop(0))
            own = tuple(rest.pop(0) for _ in range(count))
            if weight > 0:
                kept.append(weight)
                posteriors.append(member.condition(own, indices, losses, noise))
        return posteriors[0] if len(posteriors) == 1 else _Mixture(posteriors, kept)
