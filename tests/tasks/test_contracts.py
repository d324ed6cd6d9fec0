"""The built-in tasks keep the contract of all tasks."""

from __future__ import annotations

import numpy as np

from elasticnas.tasks import TEXT_CLASSIFICATION, TEXT_REGRESSION
from elasticnas.tasks.contracts import TaskContract

RNG = np.random.default_rng(1)


class TestTwoClasses(TaskContract):
    task = TEXT_CLASSIFICATION
    raw = RNG.normal(size=(50, 2))
    labels = RNG.integers(2, size=50)


class TestManyClasses(TaskContract):
    task = TEXT_CLASSIFICATION
    raw = RNG.normal(size=(50, 7))
    labels = RNG.integers(5, size=50)


class TestRegression(TaskContract):
    task = TEXT_REGRESSION
    raw = RNG.normal(size=(50, 1)).astype(np.float32)
    labels = RNG.normal(size=50)


class TestRegressionOfAConstant(TestRegression):
    raw = np.ones((50, 1), np.float32)
