"""BOSHNAS's three nets as they were published and coded, weaknesses included.

Tuli et al. 2023, "FlexiBERT", section 3.3, and the code of jha-lab/boshnas (c8060d3): a
natural-parameter network for mean and noise, a teacher whose dropout is the doubt, and a student
that imitates the teacher's spread where subnets were measured. Each measurement is an update of
its own, and weights and moments go on from fit to fit.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from elasticnas.search.surrogates.descent import AdamW
from elasticnas.search.surrogates.moments import (
    Linear,
    Moments,
    back_through,
    sigmoid,
    sigmoid_back,
    through,
)
from elasticnas.search.surrogates.softplus_net import SoftplusNet

Array = NDArray[np.float64]

EPOCHS = 200
PATIENCE = 7
"""Epochs without a lower loss of validation, after which a fit ends."""
TRAINED_ON = 0.8
PASSES = 10
"""Of the teacher, whose spread the student learns."""
DROPOUT = 0.3
HIDDEN = (64, 32)
LEAST_VARIANCE = 1e-6
"""The published loss has none, and ends in no number where a variance comes to zero."""


class PublishedNets:
    """Surrogate of losses in (0, 1], over points of so many ``columns``."""

    def __init__(self, columns: int, rng: np.random.Generator) -> None:
        self._mean = _NaturalParameterNet(columns, rng)
        self._teacher = _Net(columns, rng)
        self._student = _Net(columns, rng)
        self._optimiser = AdamW(self._teacher.parameters, 2e-3)

    def fit(self, x: Array, y: Array, rng: np.random.Generator) -> None:
        """Goes on training on all measurements: points (n, columns) and losses (n,)."""
        _epochs(len(x), rng, lambda i: self._mean.learn(x[[i]], y[i]), self._mean.loss(x, y))

        def taught(i: int) -> None:
            self._optimiser.step(self._teacher.gradients(x[[i]], y[i], rng))

        _epochs(len(x), rng, taught, self._teacher.loss(x, y))
        spread = np.std([self._teacher(x, rng) for _ in range(PASSES)], axis=0)

        def imitated(i: int) -> None:
            slopes = self._student.gradients(x[[i]], spread[i], None)
            for weight, slope in zip(self._student.parameters, slopes, strict=True):
                weight -= 2e-3 * slope

        _epochs(len(x), rng, imitated, self._student.loss(x, spread))

    def doubt(self, x: Array) -> Array:
        """What the student says of points (n, columns): shape (n,)."""
        return self._student(x, None)

    def bound(self, x: Array, doubt: float, noise: float) -> Array:
        """Mean - ``doubt`` * epistemic - ``noise`` * aleatoric deviation: shape (n,)."""
        mean, variance = self._mean(x)
        return np.asarray(mean - doubt * self.doubt(x) - noise * np.sqrt(variance))

    def gradient(self, x: Array, doubt: float, noise: float) -> Array:
        """Of `bound` by the points: shape (n, columns)."""
        return self._mean.slope(x, noise) - doubt * self._student.slope(x)


def _epochs(
    count: int,
    rng: np.random.Generator,
    learn: Callable[[int], None],
    loss: Callable[[NDArray[np.intp]], float],
) -> None:
    """Up to `EPOCHS` passes, one measurement after the other, each on a fresh four fifths."""
    best, since = np.inf, 0
    for _ in range(EPOCHS):
        order = rng.permutation(count)
        cut = max(int(TRAINED_ON * count), 1)
        for index in order[:cut]:
            learn(int(index))
        now = loss(order[cut:] if cut < count else order)
        best, since = (now, 0) if now < best else (best, since + 1)
        if since >= PATIENCE:
            break


class _NaturalParameterNet:
    """columns -> 32 -> 32 -> 1 Gaussians, rectified, with a sigmoid at the end."""

    def __init__(self, columns: int, rng: np.random.Generator) -> None:
        sizes = (columns, 32, 32, 1)
        self._layers = [Linear.random(1, i, o, rng) for i, o in pairwise(sizes)]
        parameters = [each for layer in self._layers for each in layer.parameters]
        self._optimiser = AdamW(parameters, 5e-5)

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance at points (n, columns): shapes (n,) and (n,)."""
        mean, variance = self._forward(x)[-1]
        return mean[0, :, 0], np.maximum(variance[0, :, 0], LEAST_VARIANCE)

    def loss(self, x: Array, y: Array) -> Callable[[NDArray[np.intp]], float]:
        """The mean loss on some of the measurements; the factor of ten is the code's."""

        def of(rows: NDArray[np.intp]) -> float:
            mean, variance = self(x[rows])
            wrong = 10 * (mean - y[rows]) ** 2 / variance + np.log(variance)
            return float(np.mean(0.5 * wrong))

        return of

    def learn(self, x: Array, y: float) -> None:
        """One update on a point (1, columns)."""
        passed = self._forward(x)
        mean, variance = passed[-1][0], np.maximum(passed[-1][1], LEAST_VARIANCE)
        by_mean = 10 * (mean - y) / variance
        by_variance = 0.5 * (1 / variance - 10 * (mean - y) ** 2 / variance**2)
        self._optimiser.step(self._backward(x, passed, (by_mean, by_variance))[1])

    def slope(self, x: Array, noise: float) -> Array:
        """Of mean - ``noise`` * deviation by the points: shape (n, columns)."""
        passed = self._forward(x)
        mean, variance = passed[-1]
        by_variance = -noise * 0.5 / np.sqrt(np.maximum(variance, LEAST_VARIANCE))
        return self._backward(x, passed, (np.ones_like(mean), by_variance))[0]

    def _forward(self, x: Array) -> list[Moments]:
        """What passes from layer to layer, and the sigmoid's moments last."""
        passed = through(self._layers, x[None])
        return [*passed, sigmoid(passed[-1])]

    def _backward(
        self, x: Array, passed: list[Moments], grad: Moments
    ) -> tuple[Array, list[Array]]:
        grad = sigmoid_back(passed[-2], grad)
        by_points, gradients = back_through(self._layers, x[None], passed, grad)
        return by_points[0], gradients


class _Net:
    """columns -> 64 -> 32 -> 1, softplus, with a sigmoid at the end; dropout where asked for."""

    def __init__(self, columns: int, rng: np.random.Generator) -> None:
        self._net = SoftplusNet((columns, *HIDDEN, 1), rng)

    @property
    def parameters(self) -> list[Array]:
        """What is trained; changed in place."""
        return self._net.parameters

    def __call__(self, x: Array, rng: np.random.Generator | None) -> Array:
        """At points (n, columns): shape (n,)."""
        return np.asarray(expit(self._net.forward(x, _masks(len(x), rng))[-1][:, 0]))

    def loss(self, x: Array, y: Array) -> Callable[[NDArray[np.intp]], float]:
        """The mean squared error on some of the measurements."""
        return lambda rows: float(np.mean((self(x[rows], None) - y[rows]) ** 2))

    def gradients(self, x: Array, y: float, rng: np.random.Generator | None) -> list[Array]:
        """Of the squared error at a point (1, columns), by `parameters`."""
        masks = _masks(len(x), rng)
        entered = self._net.forward(x, masks)
        out = expit(entered[-1])
        return self._net.backward(x, entered, 2 * (out - y) * out * (1 - out), masks)[1]

    def slope(self, x: Array) -> Array:
        """Of the output by the points: shape (n, columns)."""
        entered = self._net.forward(x)
        out = expit(entered[-1])
        return self._net.backward(x, entered, out * (1 - out))[0]


def _masks(rows: int, rng: np.random.Generator | None) -> list[Array] | None:
    """Dropout's, of every hidden layer; None without a generator."""
    if rng is None:
        return None
    kept = 1 - DROPOUT
    return [(rng.random((rows, units)) < kept) / kept for units in HIDDEN]
