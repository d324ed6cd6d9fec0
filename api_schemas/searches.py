"""Searches, their evaluations and their Pareto front as REST takes and shows them."""

from __future__ import annotations

import math
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.fields import Finite, Identity, Name, PositiveFinite
from elasticnas.api_schemas.finetuning import Evaluation, FineTune
from elasticnas.api_schemas.halving import Halving, RungRead
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.racing import GivenUp, Racing
from elasticnas.api_schemas.spaces import SubnetAsked, SubnetChoices
from elasticnas.api_schemas.states import RunState
from elasticnas.api_schemas.strategies import AnyStrategy, ParetoSettings
from elasticnas.api_schemas.training_starts import StartedFrom
from elasticnas.api_schemas.verification import RowSplit, Verified

ObjectiveName = Annotated[str, Field(description="a metric of the dataset's task, or a cost")]
"""What is not the name of a cost is that of a metric: `elasticnas.tasks.METRICS` knows those."""


COSTS = frozenset(Cost)


def is_cost(objective: str) -> bool:
    """Whether this objective is known before any evaluation."""
    return objective in COSTS


MAX_EVALUATIONS = 1_000_000
"""The largest budget."""
MAX_SECONDS = 1e9
"""The longest one: thirty years."""
MAX_CONSTRAINTS = 8
MAX_INITIAL_SUBNETS = 10_000
MAX_PARALLEL_EVALUATIONS = 1024
MAX_OBJECTIVES = 3


class SearchState(RunState):
    """``queued -> running -> completed | failed | cancelled``, and ``running <-> paused``."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class EvaluationState(StrEnum):
    """``queued -> running -> completed | given_up | failed``."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    GIVEN_UP = "given_up"
    FAILED = "failed"


class StopReason(StrEnum):
    """Why a search ended."""

    EVALUATIONS = "evaluation_budget_spent"
    SECONDS = "time_budget_spent"
    EXHAUSTED = "space_exhausted"
    PLATEAU = "hypervolume_plateau"
    FAILURES = "failure_limit"
    CANCELLED = "cancelled"
    ERROR = "error"


class Constraint(BaseModel):
    """An upper bound on a cost; enforced before an evaluation is spent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cost: Cost
    max: PositiveFinite


class Budget(BaseModel):
    """When to stop: after ``evaluations`` recorded ones, or ``seconds`` of running, if given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    evaluations: Annotated[int, Field(ge=1, le=MAX_EVALUATIONS)] = 200
    seconds: Annotated[PositiveFinite, Field(le=MAX_SECONDS)] | None = None


class BudgetExtension(BaseModel):
    """Body of ``POST /v1/searches/{id}/extend``: what to add to the budget."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    evaluations: Annotated[int, Field(ge=0, le=MAX_EVALUATIONS)] = 0
    seconds: Annotated[Finite, Field(ge=0, le=MAX_SECONDS)] = 0.0

    @model_validator(mode="after")
    def _adds_something(self) -> Self:
        if not self.evaluations and not self.seconds:
            raise ValueError("evaluations or seconds must be above 0")
        return self


class Plateau(BaseModel):
    """Stop once ``evaluations`` in a row have raised the hypervolume by less than ``min_gain``.

    Under constraints feasible subnets reach a part only of the box that hypervolumes are shares
    of, and ``min_gain`` is made smaller in proportion.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    evaluations: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    min_gain: Annotated[float, Field(gt=0.0, le=1.0)] = 0.001


class SearchCreate(BaseModel):
    """Body of ``POST /v1/searches``.

    ``objectives`` default to the dataset's metric against GFLOPs (non-zero parameters where subnets
    differ in ranks alone), ``max_length`` to the super-network's reference length.
    ``parallel_evaluations`` bounds how many subnets are in flight at once; it is part of what makes
    a search reproducible. ``weight`` is its share of the workers beside other searches.
    """

    model_config = ConfigDict(extra="forbid")

    supernet_id: Identity
    dataset_id: Identity
    name: Name | None = None
    max_length: Annotated[int, Field(ge=4, le=100_000)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    objectives: (
        Annotated[list[ObjectiveName], Field(min_length=2, max_length=MAX_OBJECTIVES)] | None
    ) = None
    task_settings: dict[str, JsonValue] | None = Field(
        default=None,
        description="how the dataset's task is measured, such as its prompt: the settings of the "
        "task; those left out are the dataset's, or the task's defaults",
    )
    constraints: Annotated[list[Constraint], Field(max_length=MAX_CONSTRAINTS)] = Field(
        default_factory=list
    )
    strategy: AnyStrategy = Field(default_factory=ParetoSettings)
    budget: Budget = Field(default_factory=Budget)
    initial_subnets: Annotated[list[SubnetAsked], Field(max_length=MAX_INITIAL_SUBNETS)] = Field(
        default_factory=list
    )
    parallel_evaluations: Annotated[int, Field(ge=1, le=MAX_PARALLEL_EVALUATIONS)] = 8
    weight: Annotated[float, Field(ge=0.01, le=100.0)] = 1.0
    precision: Precision | Literal["auto"] = Field(
        default="auto",
        description="what all of its subnets are measured in; auto: what most of the living "
        "workers prefer when the search starts",
    )
    verify: Annotated[float, Field(gt=0.0, lt=1.0)] | None = Field(
        default=None,
        description="share of the dataset's rows that the search never sees, and on which its "
        "front is measured once more at the end",
    )
    verify_dataset_id: Identity | None = Field(
        default=None, description="instead of a share: a dataset to measure the front on"
    )
    evaluation: Evaluation | None = Field(
        default=None,
        description="train each subnet by itself before it is measured; None: measure it with the "
        "super-network's weights",
    )
    racing: Racing | None = Field(
        default=None,
        description="give subnets up before the last row when they will hardly reach the front; "
        "by the share of right rows alone. None: measure every subnet on every row",
    )
    plateau: Plateau | None = Field(default=None, description="None: spend the whole budget")
    max_failures: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(
        default=50, description="a search with more failed evaluations fails; None: no limit"
    )

    @field_validator("verify_dataset_id")
    @classmethod
    def _one_way_to_verify(cls, dataset: str | None, info: ValidationInfo) -> str | None:
        if dataset is not None and info.data.get("verify") is not None:
            raise ValueError("give either verify or verify_dataset_id, not both")
        return dataset

    @field_validator("evaluation")
    @classmethod
    def _trained_in_float32(
        cls, evaluation: Evaluation | None, info: ValidationInfo
    ) -> Evaluation | None:
        precision = info.data.get("precision", "auto")
        if evaluation is not None and precision not in ("auto", Precision.FLOAT32):
            raise ValueError(
                f"subnets are trained and measured in float32, not in {precision}: leave precision "
                "or evaluation out"
            )
        return evaluation

    @field_validator("racing")
    @classmethod
    def _trained_ones_run_no_races(
        cls, racing: Racing | None, info: ValidationInfo
    ) -> Racing | None:
        if racing is not None and info.data.get("evaluation") is not None:
            raise ValueError(
                "a race spares rows to measure, of which a training costs many times more: leave "
                "racing or evaluation out"
            )
        return racing

    @property
    def fine_tune(self) -> FineTune | None:
        """The training that every subnet has before it is measured."""
        return None if self.evaluation is None else self.evaluation.fine_tune

    @property
    def halving(self) -> Halving | None:
        """How trainings are raced, if they are."""
        return None if self.fine_tune is None else self.fine_tune.halving

    @model_validator(mode="after")
    def _brackets_are_in_flight_together(self) -> Self:
        """Written down, as the budget's population is: two brackets, unless something is given."""
        if self.halving is None:
            return self
        if "parallel_evaluations" not in self.model_fields_set:
            least = min(2 * self.halving.bracket, MAX_PARALLEL_EVALUATIONS)
            self.parallel_evaluations = max(self.parallel_evaluations, least)
        if self.parallel_evaluations < self.halving.bracket:
            raise ValueError(
                f"a bracket of {self.halving.bracket} subnets (eta {self.halving.eta}, "
                f"{self.halving.rungs} rungs) is evaluated together, and parallel_evaluations is "
                f"{self.parallel_evaluations}: raise it, or have fewer rungs"
            )
        return self

    @model_validator(mode="after")
    def _population_follows_budget(self) -> Self:
        """Written down, as an extended search is to go on with the population it began with."""
        self.strategy = self.strategy.within(self.budget.evaluations)
        return self

    @property
    def search_split(self) -> RowSplit | None:
        """Which rows the search measures on; None: all."""
        return None if self.verify is None else RowSplit(share=self.verify, part="search")

    def searched_rows(self, rows: int) -> int:
        """How many of the dataset's ``rows`` the search measures on."""
        return rows if self.search_split is None else self.search_split.count(rows)

    @property
    def verification_split(self) -> RowSplit | None:
        """Which rows verify; None: all of the other dataset."""
        return None if self.verify is None else RowSplit(share=self.verify, part="verification")

    @field_validator("objectives")
    @classmethod
    def _objectives_differ(cls, objectives: list[str] | None) -> list[str] | None:
        if objectives is None:
            return None
        if len(set(objectives)) != len(objectives):
            raise ValueError("objectives must differ from each other")
        if all(is_cost(objective) for objective in objectives):
            raise ValueError("at least one objective must be a metric")
        return objectives


class Progress(BaseModel):
    """How far a search is. What has ``finished`` counts against ``budget_evaluations``."""

    completed: int
    given_up: int = Field(description="races that were lost before the last row, or step")
    failed: int
    running: int
    cached: int = Field(description="of those that did not fail, how many the database answered")
    budget_evaluations: int
    fraction: float
    elapsed_seconds: float
    evaluations_per_second: float | None
    eta_seconds: float | None
    eta_low_seconds: float | None = Field(
        default=None, description="9 of 10 searches are over between this and `eta_high_seconds`"
    )
    eta_high_seconds: float | None = None

    @property
    def finished(self) -> int:
        """Evaluations that are over, however they ended."""
        return self.completed + self.given_up + self.failed


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
    precision: Precision | None = Field(
        default=None, description="in which it was measured; null where that was not written down"
    )
    attempt: int
    error: Problem | None
    given_up: GivenUp | None = Field(
        default=None, description="where a race was lost; such an evaluation has no metrics"
    )
    start: StartedFrom | None = Field(
        default=None,
        description="the evaluation whose trained weights its own training began with; null: the "
        "super-network's, or none was made",
    )
    rungs: list[RungRead] | None = Field(
        default=None,
        description="what it measured on the way of its training, where trainings are raced; one "
        "that was given up was stopped after the last of them",
    )
    verified: Verified | None = Field(
        default=None, description="of front members, when the search verifies its front"
    )
    hypervolume: float | None = Field(description="of the front once this one was recorded")
    finished_at: datetime | None


class SearchRead(BaseModel):
    """A search: what was asked for, how far it is, and the best it has found."""

    id: str
    name: str | None
    notes: str | None = None
    tags: list[str] = Field(default_factory=list)
    state: SearchState
    supernet_id: str
    dataset_id: str
    max_length: int
    seed: int
    objectives: list[ObjectiveName]
    task_settings: dict[str, JsonValue] = Field(
        default_factory=dict, description="the settings of its task that are not the defaults"
    )
    constraints: list[Constraint]
    strategy: AnyStrategy
    budget: Budget
    parallel_evaluations: int
    weight: float
    precision: Precision | None = Field(
        default=None,
        description="in which all of its subnets are measured; null before it has started",
    )
    verify: float | None
    verify_dataset_id: str | None
    evaluation: Evaluation | None = None
    racing: Racing | None
    plateau: Plateau | None
    max_failures: int | None
    progress: Progress
    hypervolume: float
    reference_point: dict[str, float]
    maximal_cost: dict[str, int | float] = Field(
        default_factory=dict,
        description="what the maximal subnet costs at this search's max_length",
    )
    front_size: int
    best: EvaluationRead | None = Field(description="the best of the first metric so far")
    stop_reason: StopReason | None
    waiting_for: str | None = Field(
        default=None,
        description="what keeps an unfinished search from going on, such as a worker of its "
        "precision; null where nothing does",
    )
    sparkline: list[tuple[int, float]] | None = Field(
        default=None,
        description="how the hypervolume has grown, as (results recorded, hypervolume); in lists, "
        "where it is asked for",
    )
    queue_position: int | None = Field(
        default=None, description="of a queued search: 1 is the next; null of every other"
    )
    error: Problem | None = Field(description="why it failed, or why the service paused it")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @field_validator("constraints", mode="before")
    @classmethod
    def _without_infinite_bounds(cls, constraints: object) -> object:
        """Leave out what bounds nothing: once a bound could be infinite, which JSON has as null."""
        if not isinstance(constraints, list):
            return constraints
        return [each for each in constraints if not _is_infinite(each)]


def _is_infinite(constraint: object) -> bool:
    bound = constraint.get("max", 0) if isinstance(constraint, dict) else 0
    return bound is None or bound == math.inf


class FrontRead(BaseModel):
    """The Pareto front, by rising cost (of the first cost objective).

    ``hypervolume`` is the share of the box between ``reference_point`` and the ideal point
    (metrics 1, costs 0) that the front dominates; filters do not change it. ``best`` and ``knee``
    name one of ``items``, so they answer "the best under so much".
    """

    items: list[EvaluationRead]
    best: int | None = Field(
        description="number of the item with the largest first metric, of equal ones the cheapest"
    )
    knee: int | None = Field(
        description="number of the item furthest beyond the line between the ends of the items"
    )
    hypervolume: float
    reference_point: dict[str, float]
