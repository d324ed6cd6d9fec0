"""Workers as REST shows them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from elasticnas.api_schemas.precision import Precision


class WorkerRead(BaseModel):
    """A worker that has been heard from."""

    name: str
    device: str
    alive: bool | None = Field(
        description="whether it was heard from within the last 30 seconds and has not said "
        "goodbye; null when no coordinator is running, because nobody hears workers then"
    )
    loading: bool = Field(
        default=False,
        description="true of the worker inside a server until it can take work; its name, device "
        "and precisions are known then",
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
