"""What one stream of events tells of everything that belongs to an owner."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, Field

from elasticnas.api_schemas.jobs import JobProgressEvent
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.search_events import ProgressEvent


class OverviewEventKind(StrEnum):
    """``state`` is kept and replayed; ``progress`` is of the moment."""

    STATE = "state"
    PROGRESS = "progress"


class ThingKind(StrEnum):
    """What a state is of."""

    SEARCH = "search"
    JOB = "job"


class SearchUnderway(ProgressEvent):
    """A search that has not ended."""

    id: str


class JobUnderway(JobProgressEvent):
    """A job that has not ended."""

    id: str


class OverviewProgress(BaseModel):
    """Everything that has not ended, the newest first; of very much, the newest."""

    searches: list[SearchUnderway]
    jobs: list[JobUnderway]


class OverviewState(BaseModel):
    """A search or a job has come into a state, or is there no longer.

    The registration of a super-network is a job under the super-network's id.
    """

    kind: ThingKind
    id: str
    name: str | None
    state: str = Field(description="of a search or a job, or `deleted`")
    stop_reason: str | None = Field(default=None, description="of a search that has ended")
    supernet_id: str | None = Field(default=None, description="what a job makes, once it is there")
    problem: Problem | None = None
