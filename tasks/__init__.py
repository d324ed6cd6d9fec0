"""What is measured: rows, prompts, outcomes, metrics. No torch."""

from elasticnas.tasks.metric import METRICS, Metric
from elasticnas.tasks.task import TASKS, Task
from elasticnas.tasks.text_classification import TEXT_CLASSIFICATION
from elasticnas.tasks.text_regression import TEXT_REGRESSION

__all__ = ["METRICS", "TASKS", "TEXT_CLASSIFICATION", "TEXT_REGRESSION", "Metric", "Task"]
