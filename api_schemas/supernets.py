"""Super-networks: what reading a checkpoint finds, and what REST shows of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from elasticnas.api_schemas.costs import CostModel, CostReport
from elasticnas.api_schemas.fields import LongText, Name
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.spaces import Dimension, Presence


class HeadKind(StrEnum):
    """What a model gives."""

    CLASSIFIER = "classifier"
    """Logits or one number for each row."""

    CAUSAL_LM = "causal_lm"
    """Logits over the vocabulary for each token, from the tokens before it."""

    SPANS = "spans"
    """Two logits for each token: that an answer starts there, and that it ends there."""


class SupernetState(StrEnum):
    """``reading -> ready | failed``; only ``ready`` super-networks can be used."""

    READING = "reading"
    READY = "ready"
    FAILED = "failed"


class SupernetReport(BaseModel):
    """What a worker finds when it reads a checkpoint: all that the service needs to know of it.

    ``method`` is the name of the checkpoint's format: a published method's, or ``elasticnas``.
    ``num_labels`` is 1 for a regression head. ``reference_length`` is the sequence length that
    the checkpoint itself prices subnets at (NNCF's ``input_info``), else 128. ``max_positions``
    is the longest sequence the position embeddings carry. ``presences`` are the halves of layers
    that subnets may leave out. ``head`` is what the model gives.
    """

    model_config = ConfigDict(frozen=True)

    method: str
    model_type: str
    num_labels: PositiveInt
    label_names: tuple[str, ...] | None = None
    reference_length: PositiveInt
    max_positions: PositiveInt
    has_adapters: bool
    dimensions: tuple[Dimension, ...]
    cost_model: CostModel
    presences: tuple[Presence, ...] = ()
    head: HeadKind = HeadKind.CLASSIFIER


class SpaceSummary(BaseModel):
    """A space in one glance: its size, and how many dimensions cut each part."""

    size: int
    dimensions: int
    parts: dict[str, int]


class SupernetPending(BaseModel):
    """A super-network that cannot be used: a worker reads its checkpoint, or could not."""

    id: str
    name: str
    state: Literal["reading", "failed"]
    notes: str | None = None
    tags: list[str] = Field(default_factory=list)
    problem: Problem | None = Field(description="why it failed")
    waiting_for: str | None = Field(
        default=None, description="what its reading waits for, such as a worker; null: nothing"
    )
    size_bytes: int
    digest: str
    created_at: datetime


class SupernetRead(BaseModel):
    """A registered super-network, which searches can use."""

    id: str
    name: str
    state: Literal["ready"] = "ready"
    notes: str | None = None
    tags: list[str] = Field(default_factory=list)
    method: str
    model_type: str
    head: HeadKind = HeadKind.CLASSIFIER
    num_labels: int = Field(
        description="of a language model: the tokens of its vocabulary; of spans 2: start and end"
    )
    reference_length: int
    max_positions: int
    space: SpaceSummary
    cost: dict[str, CostReport]
    """Costs of the ``maximal`` and ``minimal`` subnets at ``reference_length``."""
    size_bytes: int
    digest: str
    created_at: datetime


AnySupernet = Annotated[SupernetRead | SupernetPending, Field(discriminator="state")]
"""A super-network in any state."""


HubId = Annotated[str, Field(pattern=r"^[\w.-]{1,96}/[\w.-]{1,96}$")]
Revision = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
"""Only a full commit hash names content that cannot change."""


class SupernetFromPath(BaseModel):
    """JSON body of ``POST /v1/supernets``: a folder or archive on the server, where allowed."""

    model_config = ConfigDict(extra="forbid")

    path: LongText
    name: Name | None = None


class SupernetFromHub(BaseModel):
    """JSON body of ``POST /v1/supernets``: a repository of the Hugging Face hub, where allowed."""

    model_config = ConfigDict(extra="forbid")

    hub_id: HubId
    revision: Revision
    name: Name | None = None
