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


class Conditions(BaseModel):
    """Everything that a subnet's metrics depend on; they are comparable under equal ones alone.

    ``supernet`` and ``dataset`` are digests, of a manifest and of a stored file; ``settings`` are
    the task's own; ``split`` says which of the rows are measured on.
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

    @property
    def key(self) -> str:
        """The same for equal conditions and no others: what caches and answers are found by."""
        said = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(said.encode()).hexdigest()
