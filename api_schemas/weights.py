"""Exports: a chosen subnet's weights as an ordinary checkpoint."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, Field

from elasticnas.api_schemas.halving import RungRead
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.training_starts import StartedFrom


class WeightsFormat(StrEnum):
    """``transformers``: a self-contained folder. ``peft``: a stock adapter for the base model.

    ``onnx``: a graph that ONNX Runtime and others run.
    """

    TRANSFORMERS = "transformers"
    PEFT = "peft"
    ONNX = "onnx"


class FinetunedCard(BaseModel):
    """What the model card of a subnet that was trained on says beside: on what, and from where.

    ``before`` is None where it was not measured before. ``start`` is the subnet of the same search
    whose weights the training began with, ``rungs`` what it measured on its way.
    """

    dataset_name: str
    dataset_rows: int
    before: dict[str, float] | None = None
    start: StartedFrom | None = None
    rungs: list[RungRead] = []


class SubnetCard(BaseModel):
    """What the model card of an exported subnet says about where it came from."""

    supernet_name: str
    dataset_name: str
    dataset_rows: int
    search_id: str
    number: int
    metrics: dict[str, float]
    cost: dict[str, int | float]
    max_length: int
    precision: Precision | None = None
    finetuned: FinetunedCard | None = None


class ExportRead(BaseModel):
    """A subnet's weights in one format: whether there can be any, and whether there are.

    ``path`` is where a GET has them built, and then downloads them.
    """

    format: WeightsFormat
    possible: bool | None = Field(description="null: it turns out when a worker builds them")
    reason: str | None = Field(description="why it is not possible")
    state: Literal["absent", "pending", "ready", "failed"]
    size_bytes: int | None = None
    problem: Problem | None = None
    requested_at: datetime | None = None
    finished_at: datetime | None = None
    worker: str | None = Field(
        default=None, description="who builds it; null while it waits for a worker"
    )
    written_bytes: int | None = Field(
        default=None, description="of its files, as of the worker's last sign of life"
    )
    path: str


class ExportsRead(BaseModel):
    """A subnet's weights in every format."""

    items: list[ExportRead]


class ExportPending(BaseModel):
    """Body of the 202 while a worker builds the weights."""

    search_id: str
    number: int
    format: WeightsFormat
    state: str
    requested_at: datetime
