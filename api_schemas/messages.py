"""Messages between the service and its workers.

Each message names the queue and the actor that take it. Work goes out on ``inspections``,
``evaluations``, ``exports`` and ``jobs``; everything comes back on ``results``. A payload is the
JSON of one of these models. Delivery is at least once, so taking a message a second time must
change nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from elasticnas.api_schemas.conditions import Conditions, FineTuning
from elasticnas.api_schemas.finetuning import ChosenSubnet
from elasticnas.api_schemas.jobs import StepProgress
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.racing import GivenUp, Hits, Racing, Rival
from elasticnas.api_schemas.spaces import SubnetChoices
from elasticnas.api_schemas.supernets import SupernetReport
from elasticnas.api_schemas.verification import Resamples, Verified
from elasticnas.api_schemas.weights import SubnetCard, WeightsFormat
from elasticnas.api_schemas.workers import WorkerMemory


class Message(BaseModel):
    """A message knows where it goes: ``lane`` and ``actor`` are Dramatiq's names for it."""

    model_config = ConfigDict(frozen=True)

    queue: ClassVar[str]
    actor: ClassVar[str]

    @property
    def lane(self) -> str:
        """The queue that carries this very message."""
        return self.queue


class InspectSupernet(Message):
    """Read the checkpoint whose manifest has this digest, and report what it holds."""

    queue: ClassVar[str] = "inspections"
    actor: ClassVar[str] = "inspect_supernet"

    supernet_id: str
    digest: str


class StartingWeights(BaseModel):
    """The trained weights of another ``subnet`` that a training begins with.

    ``tensors`` is the digest of the file that holds them. Taken are those of the first ``layers``
    layers, and those that belong to no layer.
    """

    model_config = ConfigDict(frozen=True)

    subnet: SubnetChoices
    tensors: str
    layers: int


class Rung(BaseModel):
    """How far a subnet is trained now, and from where: see `Halving`.

    Up to the step ``until``, None: to the end. ``state`` is the digest of what the training left on
    the rung before; without one it begins.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    until: int | None = None
    state: str | None = None


class SubnetToEvaluate(BaseModel):
    """One subnet of a batch; ``number`` identifies it within its search.

    Where subnets are trained first, it begins with the weights ``start``, None: with the
    super-network's. ``trained`` is the digest of its own weights where they are kept already, so
    that nothing is left to train. It is trained in full, unless there is a ``rung`` to stop at.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    subnet: SubnetChoices
    attempt: int = 1
    rival: int | None = None
    start: StartingWeights | None = None
    trained: str | None = None
    rung: Rung | None = None


class EvaluateSubnets(Message):
    """Measure a small batch of subnets of one super-network on one dataset.

    Each super-network has a lane of its own for each precision, a queue named after both, so that a
    worker can take the work of a model that it holds before any other, and leave what it cannot
    compute. Where the search races, ``racing``
    says so, its course is laid by the ``pilots``, and ``rivals`` are those of the subnets, by
    number. ``revision`` is the search's: a number that a search dropped as it ended may come again.
    """

    queue: ClassVar[str] = "evaluations"
    actor: ClassVar[str] = "evaluate_subnets"

    search_id: str
    revision: int = 0
    conditions: Conditions
    racing: Racing | None = None
    pilots: tuple[Hits, ...] = ()
    rivals: dict[int, Hits] = Field(default_factory=dict)
    subnets: tuple[SubnetToEvaluate, ...]

    @model_validator(mode="before")
    @classmethod
    def _of_an_earlier_version(cls, given: Any) -> Any:
        """A queue may still hold messages that say their conditions field by field."""
        if not isinstance(given, dict) or "supernet_digest" not in given:
            return given
        moved = {"supernet_digest": "supernet", "dataset_digest": "dataset"}
        moved |= {name: name for name in ("task", "max_length", "precision", "split")}
        conditions = {moved[name]: value for name, value in given.items() if name in moved}
        return {name: value for name, value in given.items() if name not in moved} | {
            "conditions": conditions
        }

    def rival(self, item: SubnetToEvaluate) -> Rival | None:
        """Whom one of the subnets must surpass."""
        hits = None if item.rival is None else self.rivals.get(item.rival)
        return None if item.rival is None or hits is None else Rival(number=item.rival, hits=hits)

    @property
    def lane(self) -> str:
        """The queue of this super-network's evaluations in this precision."""
        return lane_of(self.conditions.supernet, self.conditions.precision)


def lane_of(supernet_digest: str, precision: Precision = Precision.FLOAT32) -> str:
    """The queue of one super-network's evaluations in one precision."""
    lane = f"{EvaluateSubnets.queue}.{supernet_digest[:32]}"
    return lane if precision is Precision.FLOAT32 else f"{lane}.{precision}"


def precision_of(lane: str) -> Precision:
    """The precision of what a lane carries."""
    ending = f".{Precision.BFLOAT16}"
    return Precision.BFLOAT16 if lane.endswith(ending) else Precision.FLOAT32


class VerifySubnets(EvaluateSubnets):
    """Measure the chosen subnets of a search once more, with confidence intervals.

    Each subnet is answered by itself, with a `SubnetsVerified` that says its ``attempt``.
    """

    actor: ClassVar[str] = "verify_subnets"


class ExportSubnet(Message):
    """Write one subnet's weights as an archive of one folder.

    Of a search that trains subnets before it measures them, ``fine_tuning`` is that training, for
    ``task``; it is made again, unless ``trained`` is the digest of the weights that came of it.
    """

    queue: ClassVar[str] = "exports"
    actor: ClassVar[str] = "export_subnet"

    export_id: str
    supernet_digest: str
    subnet: SubnetChoices
    format: WeightsFormat
    folder: str
    card: SubnetCard
    task: str | None = None
    fine_tuning: FineTuning | None = None
    trained: str | None = None


class TrainingRows(BaseModel):
    """The stored rows that a job trains on; ``num_labels`` is 1 for a regression."""

    model_config = ConfigDict(frozen=True)

    digest: str
    task: str
    num_labels: int
    label_names: tuple[str, ...] | None = None


class RunStep(Message):
    """Do one step of a job's recipe, from where it was ``saved``.

    ``source`` is the manifest digest of what the job begins with, or of what the step before has
    left; ``saved`` that of the last save point. ``chosen`` is the subnet that a fine-tuning is of.
    Each time that a step is given to a worker it is another ``attempt``, and what comes of an
    earlier one no longer counts.
    """

    queue: ClassVar[str] = "jobs"
    actor: ClassVar[str] = "run_step"

    job_id: str
    position: int
    attempt: int
    recipe: str
    step: str
    settings: dict[str, JsonValue]
    source: str
    rows: TrainingRows
    saved: str | None = None
    chosen: ChosenSubnet | None = None

    @property
    def key(self) -> str:
        """What names this attempt, as in `WorkerAlive.evaluating`."""
        return step_key(self.job_id, self.position, self.attempt)


def step_key(job_id: str, position: int, attempt: int) -> str:
    """What names one attempt at a step."""
    return f"{job_id}/{position}/{attempt}"


class StepReported(BaseModel):
    """News of one attempt at a step.

    ``state`` is running, or how the attempt ended: completed, with its ``output``; failed or died,
    with a ``problem``; given back, because the worker was told to stop. ``scalars`` are means over
    the units since the last ones; ``saved`` is a new save point.
    """

    kind: Literal["step_reported"] = "step_reported"
    job_id: str
    position: int
    attempt: int
    worker: str
    state: Literal["running", "completed", "failed", "died", "given_back"] = "running"
    progress: StepProgress | None = None
    scalars: StepProgress | None = None
    saved: str | None = None
    output: str | None = None
    size_bytes: int | None = None
    problem: Problem | None = None

    @property
    def key(self) -> str:
        """What names the attempt."""
        return step_key(self.job_id, self.position, self.attempt)


class SupernetInspected(BaseModel):
    """The report, or the problem that says why the checkpoint cannot be used."""

    kind: Literal["supernet_inspected"] = "supernet_inspected"
    supernet_id: str
    report: SupernetReport | None = None
    problem: Problem | None = None


class SubnetOutcome(BaseModel):
    """What became of one subnet: its metrics, where it was given up, or the problem it failed with.

    In a search that races, metrics come with ``hits``. ``precision`` is the one it was measured in;
    None where nothing was measured, or by a worker that does not say. ``weights`` is the digest of
    what it has learnt, where that is kept; ``state`` that of a training which may go on from the
    end of this ``rung``.
    """

    number: int
    attempt: int
    precision: Precision | None = None
    metrics: dict[str, float] | None = None
    hits: Hits | None = None
    given_up: GivenUp | None = None
    weights: str | None = None
    rung: int = 0
    state: str | None = None
    problem: Problem | None = None
    started_at: datetime
    duration_seconds: float


class SubnetsStarted(BaseModel):
    """A worker has taken these subnets of a search."""

    kind: Literal["subnets_started"] = "subnets_started"
    search_id: str
    worker: str
    numbers: tuple[int, ...]


class SubnetsEvaluated(BaseModel):
    """The outcomes of one batch, in the order they were asked for."""

    kind: Literal["subnets_evaluated"] = "subnets_evaluated"
    search_id: str
    worker: str
    outcomes: tuple[SubnetOutcome, ...]


class SubnetsVerified(BaseModel):
    """What chosen subnets measure on rows that had no part in choosing them, or the problem.

    ``precision`` is as in `SubnetOutcome`. ``resamples`` are those behind the intervals, which are
    the same for all subnets; None from a worker of an earlier version.
    """

    kind: Literal["subnets_verified"] = "subnets_verified"
    search_id: str
    numbers: tuple[int, ...]
    attempt: int = 1
    precision: Precision | None = None
    verified: tuple[Verified, ...] | None = None
    resamples: tuple[Resamples, ...] | None = None
    problem: Problem | None = None


class SubnetsDeclined(BaseModel):
    """A worker took these out of the queue and did not begin them: the search is halted.

    ``verifies`` says that they were in a `VerifySubnets`.
    """

    kind: Literal["subnets_declined"] = "subnets_declined"
    search_id: str
    worker: str
    subnets: tuple[SubnetToEvaluate, ...]
    verifies: bool = False


class SubnetExported(BaseModel):
    """The digest of the finished archive in blob storage, or the problem."""

    kind: Literal["subnet_exported"] = "subnet_exported"
    export_id: str
    digest: str | None = None
    size_bytes: int | None = None
    problem: Problem | None = None


class WorkerAlive(BaseModel):
    """Sent by a worker when it starts, every few seconds, and (with ``stopping``) as it leaves.

    ``warm_supernets`` are the manifest digests of the models it holds, the latest used last;
    ``evaluating`` names what it is at, as ``search id/number``, ``search id/number/verification``,
    ``super-network id/inspection``, ``export id/export`` or ``job id/position/attempt``. ``takes``
    are the queues that it takes messages from at this moment. ``precision`` is what it measures in
    unless a search asks for another, ``precisions`` are all that it can measure in; None from a
    worker of an earlier version, which does not say. ``busy`` is the share of the time since the
    sign of life before in which it had work in hand. ``written`` are the bytes that there are
    already of each export that it builds, by the export's id.
    """

    kind: Literal["worker_alive"] = "worker_alive"
    worker: str
    device: str
    device_name: str | None = None
    busy: float | None = None
    memory: WorkerMemory | None = None
    started_at: datetime
    evaluations: int
    warm_supernets: tuple[str, ...]
    evaluating: tuple[str, ...] = ()
    written: dict[str, int] = Field(default_factory=dict)
    precision: Precision | None = None
    precisions: tuple[Precision, ...] | None = None
    takes: tuple[str, ...] | None = None
    stopping: bool = False


Result = Annotated[
    SupernetInspected
    | SubnetsStarted
    | SubnetsEvaluated
    | SubnetsDeclined
    | SubnetsVerified
    | SubnetExported
    | StepReported
    | WorkerAlive,
    Field(discriminator="kind"),
]


class WorkerResult(Message):
    """The envelope of everything that a worker sends back."""

    queue: ClassVar[str] = "results"
    actor: ClassVar[str] = "record_result"

    result: Result
