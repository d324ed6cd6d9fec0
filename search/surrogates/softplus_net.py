"""A small net of softplus layers over points, and its gradients."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from elasticnas.search.surrogates.moments import softplus

Array = NDArray[np.float64]


class SoftplusNet:
    """Linear layers of these ``sizes`` with a softplus between them; what ends it is the caller's.

    ``masks`` are what a hidden layer's units are multiplied by, (n, units) for each, such as those
    of a dropout.
    """

    def __init__(self, sizes: Sequence[int], rng: np.random.Generator) -> None:
        self._weights = [rng.normal(0, np.sqrt(2 / (i + o)), (i, o)) for i, o in pairwise(sizes)]
        self._biases = [np.zeros(o) for o in sizes[1:]]

    @property
    def parameters(self) -> list[Array]:
        """What is trained: all weights, then all biases; changed in place."""
        return [*self._weights, *self._biases]

    def forward(self, x: Array, masks: Sequence[Array] | None = None) -> list[Array]:
        """What enters each softplus at points (n, columns), and what the last layer gives."""
        entered: list[Array] = []
        for index, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            entered.append(self._units(x, entered, masks, index) @ weight + bias)
        return entered

    def backward(
        self,
        x: Array,
        entered: Sequence[Array],
        grad: Array,
        masks: Sequence[Array] | None = None,
    ) -> tuple[Array, list[Array]]:
        """The gradients by the points and by `parameters`.

        ``entered`` is what `forward` gave, ``grad`` the gradient by the last of it.
        """
        weights: list[Array] = []
        biases: list[Array] = []
        for index in range(len(entered) - 1, -1, -1):
            weights.insert(0, self._units(x, entered, masks, index).T @ grad)
            biases.insert(0, grad.sum(axis=0))
            grad = grad @ self._weights[index].T
            if index:
                if masks is not None:
                    grad = grad * masks[index - 1]
                grad = grad * expit(entered[index - 1])
        return grad, [*weights, *biases]

    @staticmethod
    def _units(
        x: Array, entered: Sequence[Array], masks: Sequence[Array] | None, index: int
    ) -> Array:
        """What a layer reads."""
        if index == 0:
            return x
        units = softplus(entered[index - 1])
        return units if masks is None else units * masks[index - 1]
