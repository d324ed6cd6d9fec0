"""Texts, or pairs of texts, each with a number."""

from __future__ import annotations

from elasticnas.tasks.metrics import COMBINED, PEARSON, SPEARMAN
from elasticnas.tasks.task import TASKS, Task

TEXT_REGRESSION = TASKS.register(
    "text-regression", Task("text-regression", (PEARSON, SPEARMAN, COMBINED))
)
