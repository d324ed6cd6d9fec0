"""The rows of a dataset: texts by the name of their column, choices, labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[Any]
"""The label of each row, shape (rows,): numbers, texts, or records."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a dataset, column by column.

    ``texts`` are columns of texts by their names; of tasks that do not prompt, one or two. Where
    rows have ``choices``, each row has two or more, which need not be as many as another's. Of rows
    that were selected, ``places`` are where they stood before, from 0.
    """

    texts: Mapping[str, Sequence[str]]
    labels: Labels
    choices: Sequence[Sequence[str]] | None = None
    places: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of texts."""
        return tuple(self.texts)

    def row(self, index: int) -> dict[str, str]:
        """The texts of one row by the names of their columns."""
        return {name: column[index] for name, column in self.texts.items()}

    def number(self, index: int) -> int:
        """Which row of the whole dataset this is, from 1, as its owner counts them."""
        return 1 + (index if self.places is None else self.places[index])

    def select(self, rows: Sequence[int]) -> Rows:
        """These rows alone, in this order."""
        return Rows(
            {name: [column[row] for row in rows] for name, column in self.texts.items()},
            self.labels[np.asarray(rows, dtype=np.intp)],
            None if self.choices is None else [self.choices[row] for row in rows],
            [self.number(row) - 1 for row in rows],
        )
