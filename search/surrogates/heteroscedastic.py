"""BOSHNAS's surrogate: a loss, its noise where it is, and how little is known of it.

Tuli et al. 2023, "FlexiBERT", section 3.3: a natural-parameter network predicts mean and aleatoric
variance, a teacher's disagreement is the epistemic uncertainty, and a student learns to imitate it,
so that it has one smooth gradient by the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from elasticnas.search.surrogates.descent import AdamW
from elasticnas.search.surrogates.moments import Linear, Moments, back_through, softplus, through
from elasticnas.search.surrogates.softplus_net import SoftplusNet

Array = NDArray[np.float64]

HIDDEN = 32
STUDENT = 64
FLOOR = 1e-3
"""The least variance of a measurement, as a share of the losses' variance."""


@dataclass(frozen=True)
class Fit:
    """How the nets are fitted."""

    members: int = 5
    steps: int = 160
    rate: float = 0.02
    decay: float = 0.05
    heteroscedastic: bool = True
    student: bool = True


class Heteroscedastic:
    """An ensemble of natural-parameter networks over features (n, d), and its student.

    Repaired in five places against the published nets: losses are standardised and nets trained on
    all of them at once; the noise has a floor; likelihoods are weighed by the deviation
    (Seitzer et al. 2022, "On the pitfalls of heteroscedastic uncertainty estimation", beta = 1/2),
    or large noise would excuse a bad mean; several nets from different starts take dropout's place
    (Lakshminarayanan et al. 2017); and the student learns their disagreement also where nothing was
    measured. Deterministic: a pure function of the measurements and the generator.
    """

    def __init__(
        self,
        features: Array,
        losses: Array,
        elsewhere: Array,
        rng: np.random.Generator,
        fit: Fit | None = None,
    ) -> None:
        fit = fit or Fit()
        self._fit = fit
        self._centre = features.mean(axis=0)
        self._middle, self._scale = float(losses.mean()), float(losses.std()) or 1.0
        x, y = features - self._centre, (losses - self._middle) / self._scale
        sizes = (x.shape[1], HIDDEN, HIDDEN, 1)
        self._layers = [Linear.random(fit.members, i, o, rng) for i, o in pairwise(sizes)]
        self._skip = np.zeros((fit.members, x.shape[1], 1))
        self._train(x, y)
        self._student: _Student | None = None
        if fit.student:
            asked = np.concatenate([x, elsewhere - self._centre])
            self._student = _Student(asked, self._members(asked)[0].std(axis=0), rng)

    def predict(self, features: Array) -> tuple[Array, Array, Array]:
        """Mean, aleatoric and epistemic standard deviation of each loss: shapes (n,)."""
        x = features - self._centre
        means, variances = self._members(x)
        doubt = means.std(axis=0) if self._student is None else self._student(x)
        noise = np.sqrt(variances.mean(axis=0))
        return (
            means.mean(axis=0) * self._scale + self._middle,
            noise * self._scale,
            doubt * self._scale,
        )

    def gradient(self, features: Array, doubt: float, noise: float = 0.0) -> Array:
        """By the input, of mean - ``doubt`` * epistemic - ``noise`` * aleatoric, standardised."""
        x = features - self._centre
        passed = self._forward(x)
        means, variances = passed[-1][0][..., 0], passed[-1][1][..., 0] + FLOOR
        by_mean = np.full(means.shape, 1 / len(means))
        if self._student is None:
            spread = np.maximum(means.std(axis=0), 1e-9)
            by_mean -= doubt * (means - means.mean(axis=0)) / spread / len(means)
        by_variance = -noise * 0.5 / np.sqrt(variances.mean(axis=0)) / len(means)
        by_variance = np.broadcast_to(by_variance, means.shape)
        slope = self._backward(x, passed, (by_mean[..., None], by_variance[..., None]))[0]
        if self._student is not None:
            slope = slope - doubt * self._student.gradient(x)
        return slope

    def _members(self, x: Array) -> Moments:
        mean, variance = self._forward(x)[-1]
        return mean[..., 0], variance[..., 0] + FLOOR

    def _forward(self, x: Array) -> list[Moments]:
        """What passes from layer to layer; to the last mean is added what skips them."""
        spread = np.broadcast_to(x, (self._fit.members, *x.shape))
        *passed, (mean, variance) = through(self._layers, spread)
        return [*passed, (mean + spread @ self._skip, variance)]

    def _backward(
        self, x: Array, passed: list[Moments], grad: Moments
    ) -> tuple[Array, list[Array]]:
        """The gradients by the input, summed over the members, and by all parameters."""
        spread = np.broadcast_to(x, (self._fit.members, *x.shape))
        by_skip = spread.swapaxes(1, 2) @ grad[0]
        skipping = grad[0] @ self._skip.swapaxes(1, 2)
        by_points, gradients = back_through(self._layers, spread, passed, grad)
        return (by_points + skipping).sum(axis=0), [*gradients, by_skip]

    def _train(self, x: Array, y: Array) -> None:
        fit = self._fit
        parameters = [each for layer in self._layers for each in layer.parameters] + [self._skip]
        optimiser = AdamW(parameters, fit.rate, fit.decay)
        for index in range(fit.steps):
            passed = self._forward(x)
            mean, variance = passed[-1][0][..., 0], passed[-1][1][..., 0] + FLOOR
            wrong = mean - y
            if fit.heteroscedastic:
                weight = np.sqrt(variance) / len(y)
                by_mean = weight * wrong / variance
                by_variance = weight * 0.5 * (1 / variance - wrong**2 / variance**2)
            else:
                by_mean, by_variance = wrong / len(y), np.zeros_like(wrong)
            _, gradients = self._backward(x, passed, (by_mean[..., None], by_variance[..., None]))
            scale = 0.5 * (1 + np.cos(np.pi * index / fit.steps))
            optimiser.step(gradients, scale=scale)


class _Student:
    """A small net, softplus throughout, that imitates deviations (n,) at points (n, d)."""

    def __init__(self, x: Array, deviation: Array, rng: np.random.Generator) -> None:
        self._scale = float(deviation.mean()) or 1.0
        self._net = SoftplusNet((x.shape[1], STUDENT, HIDDEN, 1), rng)
        optimiser = AdamW(self._net.parameters, 0.01, 0.0)
        steps = 150
        for index in range(steps):
            entered = self._net.forward(x)
            wrong = (softplus(entered[-1][:, 0]) - deviation / self._scale) / len(x)
            _, gradients = self._backward(x, entered, wrong)
            optimiser.step(gradients, scale=0.5 * (1 + np.cos(np.pi * index / steps)))

    def __call__(self, x: Array) -> Array:
        """The deviation at points (n, d): shape (n,)."""
        return softplus(self._net.forward(x)[-1][:, 0]) * self._scale

    def gradient(self, x: Array) -> Array:
        """Of the deviation by each point: shape (n, d)."""
        return self._backward(x, self._net.forward(x), np.full(len(x), self._scale))[0]

    def _backward(self, x: Array, entered: list[Array], by_out: Array) -> tuple[Array, list[Array]]:
        return self._net.backward(x, entered, by_out[:, None] * expit(entered[-1]))
