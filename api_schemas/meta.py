"""What a server is and can do, for clients that offer it to their users."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from elasticnas.api_schemas.plots import PictureFormat, PlotKind
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.weights import WeightsFormat

JsonSchema = dict[str, Any]
"""A JSON Schema (draft 2020-12)."""


class Limits(BaseModel):
    """What is larger than this is refused."""

    max_upload_bytes: int
    max_dataset_bytes: int
    max_dataset_rows: int
    max_json_bytes: int
    max_evaluations: int
    max_seconds: float
    max_objectives: int
    max_constraints: int
    max_initial_subnets: int
    max_parallel_evaluations: int
    max_page: int
    max_points: int
    max_name: int


class Sources(BaseModel):
    """Whether models may come from a folder of the server, and from the Hugging Face hub."""

    paths: bool
    hub: bool


class Formats(BaseModel):
    """How things come and go."""

    archives: list[str]
    datasets: list[str]
    weights: list[WeightsFormat]
    pictures: list[PictureFormat]


class MetricMeta(BaseModel):
    """A metric: hypervolumes are counted from its ``worst`` value to its ``ideal`` one."""

    name: str
    better: Literal["larger", "smaller"]
    ideal: float
    worst: float
    bound: str = Field(description="the parameter that filters by it, such as `min_accuracy`")


class TaskMeta(BaseModel):
    """A task, its metrics, and what a search may say of how it is measured."""

    name: str
    metrics: list[MetricMeta]
    default_metric: str
    raced: str | None = Field(description="the metric that searches may race by")
    is_learnt: bool = Field(description="whether recipes train on its rows")
    settings: JsonSchema = Field(description="of `task_settings`")


class DatasetKindMeta(BaseModel):
    """Public data as it comes, whose columns and prompts are known."""

    name: str
    task: str


class CostMeta(BaseModel):
    """A cost; smaller is better."""

    name: str
    title: str
    description: str
    bound: str


class StrategyMeta(BaseModel):
    """A search strategy."""

    name: str
    description: str
    is_default: bool
    settings: JsonSchema = Field(description="of the object `strategy` of a search's request")
    missing: list[str] = Field(description="packages that it needs and this server lacks")


class RecipeMeta(BaseModel):
    """A way to make a super-network."""

    name: str
    description: str
    steps: list[str]
    settings: JsonSchema


class Meta(BaseModel):
    """What this server is and can do, plugins included."""

    version: str
    limits: Limits
    sources: Sources
    formats: Formats
    tasks: list[TaskMeta]
    dataset_kinds: list[DatasetKindMeta]
    costs: list[CostMeta]
    strategies: list[StrategyMeta]
    recipes: list[RecipeMeta]
    precisions: list[Precision]
    plots: list[PlotKind]
