"""What is measured: rows, prompts, outcomes, metrics. No torch."""

from elasticnas.tasks.generation import GENERATION
from elasticnas.tasks.metric import METRICS, Metric
from elasticnas.tasks.multiple_choice import MULTIPLE_CHOICE
from elasticnas.tasks.perplexity import PERPLEXITY_TASK
from elasticnas.tasks.question_answering import QUESTION_ANSWERING
from elasticnas.tasks.task import TASKS, Task
from elasticnas.tasks.text_classification import TEXT_CLASSIFICATION
from elasticnas.tasks.text_regression import TEXT_REGRESSION

__all__ = [
    "GENERATION",
    "METRICS",
    "MULTIPLE_CHOICE",
    "PERPLEXITY_TASK",
    "QUESTION_ANSWERING",
    "TASKS",
    "TEXT_CLASSIFICATION",
    "TEXT_REGRESSION",
    "Metric",
    "Task",
]
