"""Texts, or pairs of texts, each of one class."""

from __future__ import annotations

from elasticnas.tasks.metrics import ACCURACY, COMBINED, F1, MATTHEWS
from elasticnas.tasks.task import TASKS, Task

TEXT_CLASSIFICATION = TASKS.register(
    "text-classification", Task("text-classification", (ACCURACY, F1, MATTHEWS, COMBINED))
)
