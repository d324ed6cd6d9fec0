"""Jobs: what workers do step by step, for seconds to days, and ends with a model."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue

from elasticnas.api_schemas.fields import Finite, Identity, LongText, Name, Number
from elasticnas.api_schemas.finetuning import FinetunedRead
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.states import RunState
from elasticnas.api_schemas.supernets import HubId, Revision


class JobKind(StrEnum):
    """What a job is for."""

    TRAINING = "training"
    REGISTRATION = "registration"
    """A worker reads an uploaded checkpoint; its id is that of the super-network."""
    FINETUNING = "finetuning"
    """A chosen subnet is trained on by itself; what its last step leaves is an ordinary model."""


class JobState(RunState):
    """``queued -> running -> completed | failed | cancelled``; a retry queues it again."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TrainingCreate(BaseModel):
    """``POST /v1/trainings``: make a super-network of a pretrained model.

    ``settings`` are the recipe's. A recipe has its method's name, and ``method`` is read as well.
    """

    model_config = ConfigDict(extra="forbid")

    dataset_id: Identity
    recipe: Annotated[
        str, Field(max_length=100, validation_alias=AliasChoices("recipe", "method"))
    ] = "lonas"
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    name: Name | None = None


class TrainingFromPath(TrainingCreate):
    """The JSON body that trains a folder or archive on the server, where allowed."""

    path: LongText


class TrainingFromHub(TrainingCreate):
    """The JSON body that trains a repository of the Hugging Face hub, where allowed."""

    hub_id: HubId
    revision: Revision


class DeriveCreate(TrainingCreate):
    """``POST /v1/supernets/derive``: make a super-network of a fine-tuned model without training.

    The same job as a training of the recipe ``derive``; the dataset's rows are for calibration.
    """

    recipe: Literal["derive"] = "derive"


class DeriveFromPath(DeriveCreate, TrainingFromPath):
    """The JSON body that names a folder or archive on the server, where allowed."""


class DeriveFromHub(DeriveCreate, TrainingFromHub):
    """The JSON body that names a repository of the Hugging Face hub, where allowed."""


class StepProgress(BaseModel):
    """How far a step is: so many of so many units, and the latest value of what it watches."""

    done: Number = 0
    total: Number = 0
    scalars: dict[str, Finite] = Field(default_factory=dict)


class StepRead(BaseModel):
    """One step of a job. ``saved_at`` is the last moment from which any worker can go on."""

    name: str
    state: JobState
    progress: StepProgress
    worker: str | None
    attempt: int
    """How often it was given to a worker."""
    saved_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None


class ProductFile(BaseModel):
    """One file that a step has left."""

    path: str
    """Relative, with slashes."""
    size_bytes: int
    sha256: str


class StepProduct(BaseModel):
    """What a completed step of a job has left: the next step's input, or the super-network."""

    job_id: str
    step: str
    files: list[ProductFile]
    size_bytes: int


class JobRead(BaseModel):
    """A job; once completed, ``supernet_id`` is the super-network that it made.

    A registration has neither recipe nor dataset. A super-network that a training made has none:
    its reading is the end of the training. A fine-tuning has ``finetuned`` and no super-network.
    """

    id: str
    kind: JobKind
    name: str
    recipe: str | None
    settings: dict[str, JsonValue]
    dataset_id: str | None
    state: JobState
    steps: list[StepRead]
    waiting_for: str | None = Field(
        default=None, description="what it waits for, such as a worker; null: nothing"
    )
    supernet_id: str | None
    finetuned: FinetunedRead | None = None
    problem: Problem | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobEventKind(StrEnum):
    """What a stream of events tells; all but the progress is kept, with an id."""

    PROGRESS = "progress"
    SCALARS = "scalars"
    STATE = "state"


class JobProgressEvent(BaseModel):
    """Where the job is at the moment."""

    state: JobState
    step: str
    progress: StepProgress


class JobScalarsEvent(BaseModel):
    """Means of what a step watches, over the units since the event before."""

    step: str
    done: int
    scalars: dict[str, float]


class JobStateEvent(BaseModel):
    """The job or its step came into a state."""

    state: JobState
    step: str
    step_state: JobState
    attempt: int
    supernet_id: str | None = None
    problem: Problem | None = None
