"""Workers as REST shows them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from elasticnas.api_schemas.precision import Precision


class WorkerMemory(BaseModel):
    """The memory of a worker and of its device, in bytes."""

    model_config = ConfigDict(frozen=True)

    resident_bytes: int = Field(
        description="of the worker's process and those that it has started, on the host; of a "
        "worker inside a server, the server's too"
    )
    limit_bytes: int = Field(
        description="the host's memory, or the limit of the worker's container if lower"
    )
    device_used_bytes: int | None = Field(
        default=None, description="of a CUDA device, by all processes; null on others"
    )
    device_total_bytes: int | None = Field(
        default=None, description="of a CUDA device; null on others"
    )


class WorkKind(StrEnum):
    """What a worker can be at."""

    EVALUATION = "evaluation"
    VERIFICATION = "verification"
    EXPORT = "export"
    REGISTRATION = "registration"
    STEP = "step"


class WorkRead(BaseModel):
    """Something that a worker is at: evaluations of a search, or a step of a job."""

    kind: WorkKind
    search_id: str | None = Field(
        default=None, description="of an evaluation, a verification and an export"
    )
    supernet_id: str | None = Field(default=None, description="of a registration")
    job_id: str | None = Field(default=None, description="of a step")
    name: str | None = Field(description="that of the search, the super-network or the job")
    numbers: list[int] = Field(
        default_factory=list, description="the search's evaluations that it has in hand"
    )
    step: str | None = Field(default=None, description="the name of the job's step")


class WorkerRead(BaseModel):
    """A worker that has been heard from."""

    name: str
    device: str = Field(description="as torch names it, such as `cuda:0`")
    device_name: str | None = Field(
        default=None, description="what the device calls itself; null where it says nothing"
    )
    alive: bool | None = Field(
        description="whether it was heard from within the last 30 seconds and has not said "
        "goodbye; null when no coordinator is running, because nobody hears workers then"
    )
    loading: bool = Field(
        default=False,
        description="true of the worker inside a server until it can take work; its name, device "
        "and precisions are known then",
    )
    at: list[WorkRead] = Field(
        default_factory=list,
        description="what it was at when it was heard from last, as far as that is your own",
    )
    busy: float | None = Field(
        default=None,
        description="the share of the time between the last two signs of life in which it had "
        "anyone's work in hand, 0 to 1; null of a worker of an earlier version",
    )
    memory: WorkerMemory | None = Field(
        default=None, description="null of a worker of an earlier version, or that is loading"
    )
    evaluations: int
    warm_supernets: list[str] = Field(
        description="digests of the super-networks that it has in memory, of your own alone"
    )
    precision: Precision | None = Field(
        description="what it measures in unless a search asks for another of its precisions; null "
        "of a worker of an earlier version, which does not say"
    )
    precisions: list[Precision] | None = Field(
        description="all that it can measure in; null of a worker of an earlier version"
    )
    started_at: datetime
    last_seen_at: datetime
