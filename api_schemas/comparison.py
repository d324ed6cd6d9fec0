"""Two subnets of a search beside each other."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from elasticnas.api_schemas.fields import Choice


class DimensionDifference(BaseModel):
    """A dimension of which the two have different choices."""

    name: str
    part: str
    layer: int | None
    a: Choice
    b: Choice


class CostDifference(BaseModel):
    """A cost of both; ``difference`` is b - a."""

    a: int | float
    b: int | float
    difference: int | float


class MetricDifference(BaseModel):
    """A metric of both; ``difference`` is b - a, with its paired interval of 95 % if one is known.

    Where that holds 0, the difference ``could_be_chance``.
    """

    a: float
    b: float
    difference: float
    low: float | None = None
    high: float | None = None
    could_be_chance: bool | None = None


class MeasuredOn(BaseModel):
    """The rows that the intervals are of."""

    rows: int
    part: Literal["verification", "search"]


class ComparisonRead(BaseModel):
    """What changes from subnet ``a`` to subnet ``b``."""

    a: int
    b: int
    dimensions: list[DimensionDifference]
    cost: dict[str, CostDifference]
    metrics: dict[str, MetricDifference]
    measured_on: MeasuredOn | None = Field(description="null where no interval is known")
    why_no_interval: str | None = None
