"""BOSHNAS's three nets as they were published and coded, weaknesses included.

Tuli et al. 2023, "FlexiBERT", section 3.3, and the code of jha-lab/boshnas (c8060d3): a
natural-parameter network for mean and noise, a teacher whose dropout is the doubt, and a student
that imitates the teacher's spread where subnets were measured. Each measurement is an update of
its own, and weights and moments go on from fit to fit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from elasticnas.search.surrogates.descent import AdamW
from elasticnas.search.surrogates.moments import (
    Linear,
    Moments,
    relu,
    relu_back,
    sigmoid,
    sigmoid_back,
    softplus,
)

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
        teacher = [*self._teacher.weights, *self._teacher.biases]
        self._optimiser = AdamW(teacher, 2e-3)

    def fit(self, x: Array, y: Array, rng: np.random.Generator) -> None:
        """Goes on training on all measurements: points (n, columns) and losses (n,)."""
        _epochs(len(x), rng, lambda i: self._mean.learn(x[[i]], y[i]), self._mean.loss(x, y))

        def taught(i: int) -> None:
            self._optimiser.step(self._teacher.gradients(x[[i]], y[i], rng))

        _epochs(len(x), rng, taught, self._teacher.loss(x, y))
        spread = np.std([self._teacher(x, rng) for _ in range(PASSES)], axis=0)

        def imitated(i: int) -> None:
            weights = [*self._student.weights, *self._student.biases]
            slopes = self._student.gradients(x[[i]], spread[i], None)
            for weight, slope in zip(weights, slopes, strict=True):
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
        """What leaves each layer, what `relu_back` needs, and so on; the sigmoid's last."""
        now: Moments = (x[None], np.zeros_like(x[None]))
        passed: list[Moments] = []
        for layer in self._layers[:-1]:
            now, kept = relu(layer.forward(now))
            passed += [now, kept]
        entered = self._layers[-1].forward(now)
        return [*passed, entered, sigmoid(entered)]

    def _backward(
        self, x: Array, passed: list[Moments], grad: Moments
    ) -> tuple[Array, list[Array]]:
        grad = sigmoid_back(passed[-2], grad)
        gradients: list[Array] = []
        for index in range(len(self._layers) - 1, -1, -1):
            start: Moments = (x[None], np.zeros_like(x[None]))
            before = passed[2 * index - 2] if index else start
            grad, own = self._layers[index].backward(before, grad)
            gradients = own + gradients
            if index:
                grad = relu_back(passed[2 * index - 2], passed[2 * index - 1], grad)
        return grad[0][0], gradients


class _Net:
    """columns -> 64 -> 32 -> 1, softplus, with a sigmoid at the end; dropout where asked for."""

    def __init__(self, columns: int, rng: np.random.Generator) -> None:
        sizes = (columns, *HIDDEN, 1)
        self.weights = [rng.normal(0, np.sqrt(2 / (i + o)), (i, o)) for i, o in pairwise(sizes)]
        self.biases = [np.zeros(o) for o in sizes[1:]]

    def __call__(self, x: Array, rng: np.random.Generator | None) -> Array:
        """At points (n, columns): shape (n,)."""
        return np.asarray(expit(self._forward(x, self._masks(len(x), rng))[-1][:, 0]))

    def loss(self, x: Array, y: Array) -> Callable[[NDArray[np.intp]], float]:
        """The mean squared error on some of the measurements."""
        return lambda rows: float(np.mean((self(x[rows], None) - y[rows]) ** 2))

    def gradients(self, x: Array, y: float, rng: np.random.Generator | None) -> list[Array]:
        """Of the squared error at a point (1, columns), by weights and biases."""
        masks = self._masks(len(x), rng)
        entered = self._forward(x, masks)
        out = expit(entered[-1])
        return self._backward(x, entered, masks, 2 * (out - y) * out * (1 - out))[1]

    def slope(self, x: Array) -> Array:
        """Of the output by the points: shape (n, columns)."""
        masks = self._masks(len(x), None)
        entered = self._forward(x, masks)
        out = expit(entered[-1])
        return self._backward(x, entered, masks, out * (1 - out))[0]

    def _masks(self, rows: int, rng: np.random.Generator | None) -> list[Array]:
        if rng is None:
            return [np.ones((rows, units)) for units in HIDDEN]
        kept = 1 - DROPOUT
        return [(rng.random((rows, units)) < kept) / kept for units in HIDDEN]

    def _forward(self, x: Array, masks: Iterable[Array]) -> list[Array]:
        """What enters each softplus, and the sigmoid."""
        entered = [x @ self.weights[0] + self.biases[0]]
        for mask, weight, bias in zip(masks, self.weights[1:], self.biases[1:], strict=True):
            entered.append((softplus(entered[-1]) * mask) @ weight + bias)
        return entered

    def _backward(
        self, x: Array, entered: list[Array], masks: list[Array], grad: Array
    ) -> tuple[Array, list[Array]]:
        weights: list[Array] = []
        biases: list[Array] = []
        for index in range(len(entered) - 1, -1, -1):
            before = softplus(entered[index - 1]) * masks[index - 1] if index else x
            weights.insert(0, before.T @ grad)
            biases.insert(0, grad.sum(axis=0))
            grad = grad @ self.weights[index].T
            if index:
                grad = grad * masks[index - 1] * expit(entered[index - 1])
        return grad, [*weights, *biases]
