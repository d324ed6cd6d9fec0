"""What a metric depends on beside the subnet."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.verification import RowSplit

VERSION = 1
"""Grows when the same conditions come to measure something else."""


class FineTuning(BaseModel):
    """A training that every subnet has before it is measured.

    ``rows`` is the digest of the stored rows to train on, ``settings`` are those of the recipe
    ``finetune`` (`finetuning.FinetuneSettings`).
    """

    model_config = ConfigDict(frozen=True)

    rows: str
    settings: dict[str, Any]


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
        said = json.dumps(told, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(said.encode()).hexdigest()
