"""Exports: a chosen subnet's weights as an ordinary checkpoint."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel

from elasticnas.api_schemas.precision import Precision


class WeightsFormat(StrEnum):
    """``transformers``: a self-contained folder. ``peft``: a stock adapter for the base model.

    ``onnx``: a graph that ONNX Runtime and others run.
    """

    TRANSFORMERS = "transformers"
    PEFT = "peft"
    ONNX = "onnx"


class FinetunedCard(BaseModel):
    """What the model card of a subnet that was trained on says beside: on what, and from where.

    ``before`` is None where it was not measured before.
    """

    dataset_name: str
    dataset_rows: int
    before: dict[str, float] | None = None


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


class ExportPending(BaseModel):
    """Body of the 202 while a worker builds the weights."""

    search_id: str
    number: int
    format: WeightsFormat
    state: str
    requested_at: datetime
