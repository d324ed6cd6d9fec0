"""Searches, their evaluations and their Pareto front as REST takes and shows them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from api_schemas.costs import Cost
from api_schemas.metrics import Metric
from api_schemas.problems import Problem
from api_schemas.spaces import SubnetChoices
from api_schemas.strategies import Nsga2Settings, StrategySettings

ObjectiveName = Metric | Cost
"""Metrics are maximised, costs are minimised."""


class SearchState(StrEnum):
    """``queued -> running -> completed | failed | cancelled``, and ``running <-> paused``."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """True when the search will record no further evaluation by itself."""
        return self in (SearchState.COMPLETED, SearchState.FAILED, SearchState.CANCELLED)


class EvaluationState(StrEnum):
    """``queued -> running -> completed | failed``."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"


class StopReason(StrEnum):
    """Why a search ended."""

    EVALUATIONS = "evaluation_budget_spent"
    SECONDS = "time_budget_spent"
    EXHAUSTED = "space_exhausted"
    CANCELLED = "cancelled"
    ERROR = "error"


class Constraint(BaseModel):
    """An upper bound on a cost; enforced before an evaluation is spent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cost: Cost
    max: PositiveFloat


class Budget(BaseModel):
    """When to stop: after ``evaluations`` recorded ones, or ``seconds`` of running, if given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    evaluations: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    seconds: PositiveFloat | None = None


class SearchCreate(BaseModel):
    """Body of ``POST /v1/searches``.

    ``objectives`` default to the dataset's metric against GFLOPs, ``max_length`` to the
    super-network's reference length. ``parallel_evaluations`` bounds how many subnets are in
    flight at once; it is part of what makes a search reproducible.
    """

    model_config = ConfigDict(extra="forbid")

    supernet_id: str
    dataset_id: str
    name: Annotated[str, Field(max_length=200)] | None = None
    max_length: Annotated[int, Field(ge=4, le=100_000)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    objectives: Annotated[list[ObjectiveName], Field(min_length=2, max_length=3)] | None = None
    constraints: Annotated[list[Constraint], Field(max_length=8)] = Field(default_factory=list)
    strategy: StrategySettings = Field(default_factory=Nsga2Settings)
    budget: Budget = Field(default_factory=Budget)
    initial_subnets: Annotated[list[SubnetChoices], Field(max_length=10_000)] = Field(
        default_factory=list
    )
    parallel_evaluations: Annotated[int, Field(ge=1, le=1024)] = 8

    @model_validator(mode="after")
    def _objectives_differ(self) -> Self:
        if self.objectives is None:
            return self
        if len(set(self.objectives)) != len(self.objectives):
            raise ValueError("objectives must differ from each other")
        if not any(isinstance(objective, Metric) for objective in self.objectives):
            raise ValueError("at least one objective must be a metric")
        return self


class Progress(BaseModel):
    """How far a search is. ``completed + failed`` counts against ``budget_evaluations``."""

    completed: int
    failed: int
    running: int
    cached: int = Field(description="of the completed, how many the database answered")
    budget_evaluations: int
    fraction: float
    elapsed_seconds: float
    evaluations_per_second: float | None
    eta_seconds: float | None


class EvaluationRead(BaseModel):
    """One subnet of a search, measured or about to be."""

    number: int
    state: EvaluationState
    subnet: SubnetChoices
    metrics: dict[str, float] | None
    cost: dict[str, int | float]
    on_front: bool
    duration_seconds: float | None
    origin: Literal["maximal", "minimal", "heuristic", "given", "strategy"]
    cached: bool
    worker: str | None
    attempt: int
    error: Problem | None
    hypervolume: float | None = Field(description="of the front once this one was recorded")
    finished_at: datetime | None


class SearchRead(BaseModel):
    """A search: what was asked for, how far it is, and the best it has found."""

    id: str
    name: str | None
    state: SearchState
    supernet_id: str
    dataset_id: str
    max_length: int
    seed: int
    objectives: list[ObjectiveName]
    constraints: list[Constraint]
    strategy: StrategySettings
    budget: Budget
    parallel_evaluations: int
    progress: Progress
    hypervolume: float
    reference_point: dict[str, float]
    front_size: int
    best: EvaluationRead | None = Field(description="the best of the first metric so far")
    stop_reason: StopReason | None
    error: Problem | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class FrontRead(BaseModel):
    """The Pareto front, by rising cost (of the first cost objective).

    ``hypervolume`` is the share of the box between ``reference_point`` and the ideal point
    (metrics 1, costs 0) that the front dominates.
    """

    items: list[EvaluationRead]
    hypervolume: float
    reference_point: dict[str, float]
