"""Training a chosen subnet on by itself, taught by the super-network that it was found in."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PositiveFloat, model_validator

from elasticnas.api_schemas.conditions import Conditions, TrainingStart
from elasticnas.api_schemas.distillation import DistillationSettings
from elasticnas.api_schemas.fields import Identity, Name
from elasticnas.api_schemas.halving import Halving
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.spaces import SubnetChoices
from elasticnas.api_schemas.training import (
    OptimiserSettings,
    Schedule,
    Share,
    require_gradients,
)
from elasticnas.api_schemas.weights import SubnetCard

BEFORE = "_before"
"""Stands behind a metric's name, among the scalars of a step: what it was before the training."""


class Trained(StrEnum):
    """What of a subnet is trained on."""

    ALL = "all"
    """Every weight, its adapters merged into them first."""
    ADAPTERS = "adapters"
    """Its adapters and its classifier's head, beside weights that stay."""


class FinetuneSettings(OptimiserSettings, DistillationSettings):
    """How a subnet is trained on; the maximal subnet of its super-network is the teacher.

    With ``keep_zeros`` the zeros of a sparse weight stay zeros. The weights beside ``adapters``
    compute in ``precision``; what is trained is in float32.
    """

    epochs: Annotated[float, Field(gt=0, le=10_000)] = 2.0
    learning_rate: PositiveFloat = 5e-5
    schedule: Schedule = Schedule.COSINE
    max_gradient_norm: PositiveFloat | None = 1.0
    dropout: bool = False
    group_by_length: bool = True
    task_weight: Share = 0.5
    distillation_weight: Share = 0.5
    trained: Trained = Trained.ALL
    keep_zeros: bool = True
    precision: Precision = Precision.FLOAT32

    @model_validator(mode="after")
    def _check_precision(self) -> Self:
        require_gradients(self.precision)
        if self.trained is Trained.ALL and self.precision is not Precision.FLOAT32:
            raise ValueError(
                f"all weights are trained in float32: leave precision at it, or train the "
                f"{Trained.ADAPTERS} alone"
            )
        return self


class FineTune(FinetuneSettings):
    """A training that every subnet of a search has before it is measured, on another dataset.

    It begins with the super-network's weights; or, with ``start: nearest``, with those of the
    evaluated subnet that it shares the largest part of its parameters with, where that is
    ``min_overlap`` or more (`search.overlap`). With ``halving`` only the best are trained to the
    end. Left out, ``max_length`` and ``task_settings`` are the search's.
    """

    dataset_id: Identity
    start: TrainingStart = TrainingStart.SUPERNET
    min_overlap: Annotated[float, Field(gt=0, le=1)] = 0.8
    halving: Halving | None = None

    @model_validator(mode="after")
    def _whole_weights_are_transferred(self) -> Self:
        if self.start is TrainingStart.NEAREST and self.trained is not Trained.ALL:
            raise ValueError(
                f"start: {TrainingStart.NEAREST} transfers whole weights: leave trained at "
                f"{Trained.ALL}, or start with the {TrainingStart.SUPERNET}"
            )
        return self

    @model_validator(mode="after")
    def _rungs_have_steps(self) -> Self:
        if self.halving is None:
            return self
        if self.steps is None:
            raise ValueError("halving shares out steps: say how many steps a whole training has")
        if not self.halving.steps(0, self.steps):
            raise ValueError(
                f"of {self.steps} steps none are left for the first of {self.halving.rungs} rungs, "
                f"each {self.halving.eta} times as long as the one before: have at least "
                f"{self.halving.bracket} steps, or fewer rungs"
            )
        return self


class Evaluation(BaseModel):
    """How a search comes to the metrics of a subnet.

    With ``fine_tune`` it trains each by itself first, and what is measured, verified and handed out
    is what came of that.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fine_tune: FineTune | None = None


class FinetuneCreate(BaseModel):
    """``POST /v1/searches/{id}/subnets/{number}/finetune``: train a subnet on by itself.

    ``settings`` are those of the recipe ``finetune``. Left out, ``max_length`` and
    ``task_settings`` are those that the search measures with.
    """

    model_config = ConfigDict(extra="forbid")

    dataset_id: Identity
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    name: Name | None = None


class ChosenSubnet(BaseModel):
    """A subnet of a search that a job trains on, and how it is measured: as the search does.

    ``rows`` is the digest of the stored rows to train on, whose labels are the super-network's
    classes; ``rows_name`` is what their dataset is called.
    """

    model_config = ConfigDict(frozen=True)

    subnet: SubnetChoices
    card: SubnetCard
    conditions: Conditions
    rows: str
    rows_name: str


class MetricChange(BaseModel):
    """A metric of a subnet before and after it was trained on, measured alike."""

    before: float
    after: float


class FinetunedRead(BaseModel):
    """Which subnet a job trains on; ``metrics`` are there once it is completed."""

    search_id: str
    number: int
    metrics: dict[str, MetricChange] | None
