"""What one may set of a LoNAS training."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PositiveFloat

from elasticnas.api_schemas.fields import MAX_INT32


class Sampling(StrEnum):
    """Which subnet a step trains."""

    RANDOM = "random"
    """Every choice drawn uniformly and independently: LoNAS's recipe."""

    ALTERNATE = "alternate"
    """The maximal subnet and a random one in turn, the maximal one first."""


Count = Annotated[int, Field(ge=1, le=MAX_INT32)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class TrainingSettings(BaseModel):
    """How to fine-tune. ``steps`` are optimiser steps; ``warmup`` is their share with rising rate.

    Without ``steps`` there are as many as ``epochs`` over the rows take. Without ``dropout`` a step
    is cheaper, too: the last layer computes only what the head sees. With ``group_by_length`` a
    batch has rows of like length, so less padding; which rows share a batch is then less random.

    ``adapted`` are the roles of the layers that get an adapter (`families.family.Role`);
    ``space`` is the content of a ``search_space.json``, None the default space of the model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: Count | None = None
    epochs: Annotated[float, Field(gt=0, le=10_000)] = 3.0
    batch_size: Count = 32
    learning_rate: PositiveFloat = 5e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Share = 0.06
    max_length: Annotated[int, Field(ge=4, le=MAX_INT32)] = 128
    sampling: Sampling = Sampling.RANDOM
    dropout: bool = True
    group_by_length: bool = False
    seed: Seed = 0
    lora_rank: Count = 8
    lora_alpha: PositiveFloat = 16.0
    adapted: tuple[str, ...] = ("query", "value")
    space: dict[str, JsonValue] | None = None
    save_every: Count = 200

    def steps_on(self, rows: int) -> int:
        """How many steps are made on a dataset of so many rows."""
        return self.steps or max(1, math.ceil(self.epochs * rows / self.batch_size))
