"""Which rows a search measures on, and which verify it."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import train_test_split

from elasticnas.api_schemas.verification import RowSplit
from elasticnas.tasks import Task
from elasticnas.tasks.rows import Labels

SEED = 0


def rows_of(split: RowSplit, labels: Labels, task: Task) -> list[int]:
    """The rows of one part of a split, in the order of the dataset.

    Of each of the task's strata the same share, by scikit-learn's stratified split; where there are
    none, or one has too few rows to be split, of all rows alike.
    """
    numbers = np.arange(len(labels))
    try:
        parts = train_test_split(
            numbers, test_size=split.share, random_state=SEED, stratify=task.strata(labels)
        )
    except ValueError:
        parts = train_test_split(numbers, test_size=split.share, random_state=SEED)
    chosen = parts[1] if split.part == "verification" else parts[0]
    return sorted(int(row) for row in chosen)
