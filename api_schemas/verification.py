"""What front members measure on data that the search never saw."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class RowSplit(BaseModel):
    """One part of a dataset's rows: the rows that a search measures on, or the rows that verify it.

    ``share`` of the rows, of every class alike, are set aside to verify; the split depends on the
    dataset and the share alone.
    """

    model_config = ConfigDict(frozen=True)

    share: float = Field(gt=0.0, lt=1.0)
    part: Literal["search", "verification"]

    def count(self, rows: int) -> int:
        """How many of a dataset's ``rows`` are in this part: what verifies is rounded up."""
        aside = math.ceil(self.share * rows)
        return aside if self.part == "verification" else rows - aside


class Interval(BaseModel):
    """A measured value with its 95 % confidence interval."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float


Resamples = dict[str, str]
"""By metric, its values on each resample of the rows: float32, little-endian, as Base64."""


class Verified(BaseModel):
    """A subnet on ``rows`` rows that had no part in choosing it.

    ``versus_maximal`` is the difference to the maximal subnet on the same rows: an interval that
    does not hold 0 tells the two apart.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    metrics: dict[str, Interval]
    versus_maximal: dict[str, Interval]
