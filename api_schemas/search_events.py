"""What the event stream of a search carries."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, Field

from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.searches import Progress, SearchState, StopReason
from elasticnas.api_schemas.spaces import SubnetChoices


class SearchEventKind(StrEnum):
    """What a search's event stream carries.

    ``state`` and ``front`` are kept and replayed, ``progress`` and ``evaluation`` are not.
    """

    STATE = "state"
    FRONT = "front"
    PROGRESS = "progress"
    EVALUATION = "evaluation"


class StateEvent(BaseModel):
    """A search has changed its state."""

    state: SearchState
    stop_reason: StopReason | None
    error: Problem | None


class FrontEvent(BaseModel):
    """An evaluation has entered the Pareto front; those in ``left`` are no longer on it."""

    number: int
    subnet: SubnetChoices
    metrics: dict[str, float]
    cost: dict[str, int | float]
    left: list[int]
    front_size: int
    hypervolume: float


class ProgressEvent(BaseModel):
    """How far the search is."""

    state: SearchState
    progress: Progress
    hypervolume: float
    front_size: int
    recorded: int = Field(
        default=0, description="how many results have been recorded: the `after` of all its points"
    )
