"""What a metric depends on beside the subnet."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.verification import RowSplit

VERSION = 1
"""Grows when the same conditions come to measure something else."""


class TrainingStart(StrEnum):
    """Which weights the training of a subnet begins with."""

    SUPERNET = "supernet"
    """Those that all subnets share."""
    NEAREST = "nearest"
    """Those of the subnet that is most like it, of the ones that were trained before; the
    super-network's where none is like it. Trained weights are kept, so that others can begin with
    them."""


class FineTuning(BaseModel):
    """A training that every subnet has before it is measured.

    ``rows`` is the digest of the stored rows to train on, ``settings`` are those of the recipe
    ``finetune`` (`finetuning.FinetuneSettings`). Where it does not start with the super-network,
    a metric depends, beside the conditions, on the weights that a subnet began with.
    """

    model_config = ConfigDict(frozen=True)

    rows: str
    settings: dict[str, Any]
    start: TrainingStart = TrainingStart.SUPERNET

    @property
    def keeps_weights(self) -> bool:
        """Whether what a subnet has learnt is kept."""
        return self.start is TrainingStart.NEAREST


class Conditions(BaseModel):
    """Everything that a subnet's metrics depend on; they are comparable under equal ones alone.

    ``supernet`` and ``dataset`` are digests, of a manifest and of a stored file; ``settings`` are
    the task's own; ``split`` says which of the rows are measured on; ``fine_tuning`` what a subnet
    learns before, None where it has the super-network's weights.
    """

    model_config = ConfigDict(frozen=True)

    supernet: str
    dataset: str
    task: str
    settings: dict[str, Any] = Field(default_factory=dict)
    max_length: int
    split: RowSplit | None = None
    precision: Precision = Precision.FLOAT32
    version: int = VERSION
    fine_tuning: FineTuning | None = None

    @property
    def key(self) -> str:
        """The same for equal conditions and no others: what caches and answers are found by."""
        told = self.model_dump(mode="json")
        if self.fine_tuning is None:
            del told["fine_tuning"]  # as the keys of earlier versions, by which answers are found
        elif self.fine_tuning.start is TrainingStart.SUPERNET:
            del told["fine_tuning"]["start"]  # likewise
        said = json.dumps(told, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(said.encode()).hexdigest()
