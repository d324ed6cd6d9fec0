"""The built-in tasks keep the contract of all tasks."""

from __future__ import annotations

import numpy as np

from elasticnas.tasks import (
    MULTIPLE_CHOICE,
    PERPLEXITY_TASK,
    TEXT_CLASSIFICATION,
    TEXT_REGRESSION,
)
from elasticnas.tasks.contracts import TaskContract
from elasticnas.tasks.multiple_choice import MultipleChoiceSettings
from elasticnas.tasks.perplexity import PerplexitySettings
from elasticnas.tasks.rows import Rows

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


class TestMultipleChoice(TaskContract):
    task = MULTIPLE_CHOICE
    settings = MultipleChoiceSettings(prompt="{question}", add_bos=False)
    raw = -RNG.gamma(4.0, size=(50, 5)).astype(np.float32)
    labels = MULTIPLE_CHOICE.labels(
        Rows(
            {"question": ["q"] * 50},
            RNG.integers(2, size=50),
            [["no", "yes", "perhaps so", "I do", "?"][: 2 + row % 4] for row in range(50)],
        ),
        settings,
    )


class TestPerplexity(TaskContract):
    task = PERPLEXITY_TASK
    settings = PerplexitySettings(prompt="{text}", window=20)
    raw = np.stack([-RNG.gamma(20.0, size=30), RNG.integers(3, 20, size=30)], axis=1)
    labels = PERPLEXITY_TASK.labels(
        Rows(
            {"text": [f"a text of {'many ' * (row % 5)}words" for row in range(30)]}, np.zeros(30)
        ),
        settings,
    )
