"""What constraints leave of a search space."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from elasticnas.api_schemas.fields import MAX_INT32
from elasticnas.api_schemas.searches import MAX_CONSTRAINTS, Constraint
from elasticnas.api_schemas.verification import Interval


class FeasibilityRequest(BaseModel):
    """Body of ``POST /v1/supernets/{id}/feasibility``."""

    model_config = ConfigDict(extra="forbid")

    constraints: Annotated[list[Constraint], Field(max_length=MAX_CONSTRAINTS)] = Field(
        default_factory=list
    )
    max_length: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = None
    samples: Annotated[int, Field(ge=100, le=100_000)] = 10_000
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class CostRange(BaseModel):
    """The cheapest and the dearest subnet by a cost.

    Exact in small spaces, and where every cost falls with every step to a smaller choice; else the
    ends that a climb finds.
    """

    low: float
    high: float


class FeasibilityRead(BaseModel):
    """What constraints leave of a search space."""

    max_length: int
    size: int = Field(description="how many subnets there are")
    share: Interval = Field(
        description="of the subnets that satisfy all constraints: counted, or estimated by "
        "`samples` of them, with the interval of 95 % by Wilson"
    )
    samples: int
    is_exact: bool
    range: dict[str, CostRange] = Field(description="by cost, of all subnets")
    feasible: dict[str, CostRange] | None = Field(
        description="by cost that is bounded, of those that satisfy the constraints; null where "
        "none is known"
    )
