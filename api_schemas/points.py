"""Many evaluations in one answer, a column for each field."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, Field

MAX_POINTS = 100_000
"""The most points in one answer."""


class PointField(StrEnum):
    """What a point may hold beside the metrics of its task and the costs."""

    NUMBER = "number"
    SEQUENCE = "sequence"
    STATE = "state"
    ORIGIN = "origin"
    CACHED = "cached"
    HYPERVOLUME = "hypervolume"
    DURATION_SECONDS = "duration_seconds"
    CHOICES = "choices"


PointValue = int | float | str | bool | list[int] | None


class ResultsEvent(BaseModel):
    """Results that were recorded together, as columns; see `PointsRead`.

    A client that has read the points up to ``since`` need only append these.
    """

    since: int = Field(description="the `after` of the points and results before these")
    after: int = Field(description="how many results the search had recorded with these")
    count: int = Field(description="the length of each column")
    more: bool = Field(description="more have been recorded already, and follow")
    columns: dict[str, list[PointValue]] = Field(
        description="number, state, origin, cached, hypervolume, duration_seconds, and every "
        "metric and cost of the search; null where a point has none"
    )


class PointsRead(BaseModel):
    """Evaluations that are over, in the order in which their results were recorded."""

    count: int = Field(description="the length of each column")
    columns: dict[str, list[PointValue]] = Field(
        description="the values of each field that was asked for; null where a point has none, as "
        "a metric of an evaluation that failed. `choices` are the index of the choice of each "
        "dimension, in the order of the super-network's space"
    )
    after: int = Field(description="give this as `after` to read on from here")
    more: bool = Field(description="there were more than `limit`: read on at once")
    front: list[int] = Field(description="the numbers on the Pareto front, of all points")
