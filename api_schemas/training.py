"""What one may set of a recipe: LoNAS, Shears, and the one that trains nothing."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    PositiveFloat,
    field_validator,
    model_validator,
)

from elasticnas.api_schemas.fields import MAX_INT32
from elasticnas.api_schemas.precision import Precision


class Sampling(StrEnum):
    """Which subnet a step trains."""

    RANDOM = "random"
    """Every choice drawn uniformly and independently: LoNAS's recipe."""

    MAXIMAL = "maximal"
    """The maximal subnet alone: what any method without a search trains."""

    ALTERNATE = "alternate"
    """The maximal subnet and a random one in turn, the maximal one first."""


class Schedule(StrEnum):
    """How the learning rate falls from behind the warm-up to the end, where it is zero."""

    LINEAR = "linear"
    COSINE = "cosine"
    """Half a cosine (Loshchilov & Hutter 2017), as LoNAS's and Shears's own trainings have it."""


class LossOn(StrEnum):
    """Which tokens of a row a language model learns to predict."""

    ANSWER = "answer"
    """The answer and the end of the text behind it; the prompt is only read."""

    TEXT = "text"
    """Prompt and answer."""


Count = Annotated[int, Field(ge=1, le=MAX_INT32)]
Rank = Annotated[int, Field(ge=0, le=MAX_INT32)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]


def require_gradients(precision: Precision) -> Precision:
    """A precision in which gradients can be computed.

    Raises:
        ValueError: it is none.
    """
    if precision is Precision.FLOAT16:
        raise ValueError("gradients overflow in float16: compute in bfloat16 or float32")
    return precision


class RowSettings(BaseModel):
    """How rows of a dataset become what a model learns from, or is calibrated on.

    Of a language model, ``loss_on`` says which tokens count, and ``task_settings`` are the
    dataset's task's, of which the prompt is one. ``seed`` draws the rows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_length: Annotated[int, Field(ge=4, le=MAX_INT32)] = 128
    seed: Seed = 0
    loss_on: LossOn = LossOn.ANSWER
    task_settings: dict[str, JsonValue] = Field(default_factory=dict)


class OptimiserSettings(RowSettings):
    """How weights are learnt. ``steps`` are the optimiser's; ``warmup`` their share of rising rate.

    Without ``steps`` there are as many as ``epochs`` over the rows take. Without ``dropout`` a step
    is cheaper, too: the last layer computes only what the head sees. With ``group_by_length`` a
    batch has rows of like length, so less padding; which rows share a batch is then less random.
    A gradient longer than ``max_gradient_norm``, if any, is cut to it.
    """

    steps: Count | None = None
    epochs: Annotated[float, Field(gt=0, le=10_000)] = 3.0
    batch_size: Count = 32
    learning_rate: PositiveFloat = 5e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup: Share = 0.06
    schedule: Schedule = Schedule.LINEAR
    max_gradient_norm: PositiveFloat | None = None
    dropout: bool = True
    group_by_length: bool = False
    save_every: Count = 200

    def steps_on(self, rows: int) -> int:
        """How many steps are made on a dataset of so many rows."""
        return self.steps or max(1, math.ceil(self.epochs * rows / self.batch_size))


class TrainingSettings(OptimiserSettings):
    """How to fine-tune adapters. The base computes in ``precision``; they stay in float32.

    ``adapted`` are the roles of the layers that get an adapter (`families.family.Role`), None those
    that the method adapts in such a model. ``ranks`` are the choices of every elastic rank, the
    largest first, of which the last may be 0: no adapter. ``space`` is the content of a
    ``search_space.json``; None is the method's space.
    """

    sampling: Sampling = Sampling.RANDOM
    precision: Precision = Precision.FLOAT32
    lora_rank: Count = 8
    lora_alpha: PositiveFloat = 16.0
    adapted: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    ranks: Annotated[tuple[Rank, ...], Field(min_length=1)] | None = None
    space: dict[str, JsonValue] | None = None

    @field_validator("precision")
    @classmethod
    def _check_precision(cls, precision: Precision) -> Precision:
        return require_gradients(precision)

    @model_validator(mode="after")
    def _check_ranks(self) -> Self:
        if self.ranks is None:
            return self
        if self.space is not None:
            raise ValueError("a space names its ranks itself: give ranks or space, not both")
        if self.ranks[0] != self.lora_rank:
            raise ValueError(
                f"the largest rank is lora_rank, {self.lora_rank}: ranks must begin with it"
            )
        if list(self.ranks) != sorted(set(self.ranks), reverse=True):
            raise ValueError("ranks must descend")
        return self


def _keeps_some(pattern: str) -> str:
    kept, of = map(int, pattern.split(":"))
    if kept > of:
        raise ValueError(f"n:m keeps n of every m weights: {pattern} keeps more than all")
    return pattern


Ratio = Annotated[float, Field(ge=0, lt=1)]
Pattern = Annotated[str, Field(pattern=r"^[1-9]\d{0,3}:[1-9]\d{0,3}$"), AfterValidator(_keeps_some)]
Sparsity = Ratio | Pattern
"""How sparse a matrix becomes: the share of zeros in each of its rows, or ``n:m``.

``2:4`` keeps two of every four neighbours in a row, which the sparse tensor cores of GPUs need.
"""


class ShearsSettings(TrainingSettings):
    """Those of a training, with Shears's defaults, and how the base is made sparse before it.

    ``sparsity`` holds for every block, or is a list with one for each. Wanda looks at what
    ``calibration_rows`` of the dataset, drawn by the seed, give as inputs of every layer.
    """

    batch_size: Count = 16
    learning_rate: PositiveFloat = 3e-4
    warmup: Share = 0.0
    schedule: Schedule = Schedule.COSINE
    max_gradient_norm: PositiveFloat | None = 1.0
    max_length: Annotated[int, Field(ge=4, le=MAX_INT32)] = 256
    lora_rank: Count = 32
    lora_alpha: PositiveFloat = 64.0
    sparsity: Sparsity | Annotated[tuple[Sparsity, ...], Field(min_length=1)] = 0.5
    calibration_rows: Count = 128


class Importance(StrEnum):
    """What says how much a head or a neuron matters."""

    FISHER = "fisher"
    """The mean square of the gradient of its mask, for what the model itself would say (Kwon et al.
    2022)."""
    EMPIRICAL = "empirical"
    """The same for the rows' labels or answers."""
    TAYLOR = "taylor"
    """The mean magnitude of that gradient (Michel et al. 2019)."""
    MAGNITUDE = "magnitude"
    """The norm of its weights."""


class HalvesBy(StrEnum):
    """What says how much an attention or an FFN matters."""

    OUTPUT = "output"
    """How far what the model says moves without it, which is tried on some of the rows (as SLEB
    tries blocks: Song et al. 2024)."""
    INFLUENCE = "influence"
    """How much it changes of the hidden states (ShortGPT: Men et al. 2024). Nothing is tried."""


CutShare = Annotated[float, Field(gt=0, lt=1)]


class DeriveSettings(RowSettings):
    """How a fine-tuned model becomes a super-network without training.

    Heads and neurons are put into the order of their ``importance`` on ``calibration_rows`` of the
    dataset, in batches of at most ``batch_size`` rows; the model computes in ``precision``.

    The widths of a layer are the ``shares`` of its full width, and those that it has where one
    threshold for the whole model, on the importance per multiply-accumulate, leaves the shares
    ``targets`` of the full cost.

    Attentions and FFNs that matter least, as ``halves_by`` says, may be left out, each by itself:
    ``dropped_halves`` of them. Or, with ``dropped_blocks``, whole blocks: the one that changes the
    hidden states least, or the two least, and so on. Where neither is given, a quarter of all
    halves may be; of a family whose blocks run whole only, of the blocks.

    With ``refit`` the layers that read what was cut are fitted to what is left, for each width of
    the space, by least squares on the same rows.
    """

    calibration_rows: Count = 512
    batch_size: Count = 32
    importance: Importance = Importance.FISHER
    targets: tuple[CutShare, ...] = (0.7, 0.55, 0.4)
    shares: tuple[CutShare, ...] = (0.75, 0.5, 0.25)
    dropped_halves: Annotated[int, Field(ge=0, le=MAX_INT32)] | None = None
    dropped_blocks: Annotated[int, Field(ge=0, le=MAX_INT32)] | None = None
    halves_by: HalvesBy = HalvesBy.OUTPUT
    refit: bool = False
    precision: Precision = Precision.FLOAT32
    save_every: Count = 200

    @field_validator("precision")
    @classmethod
    def _check_precision(cls, precision: Precision) -> Precision:
        return require_gradients(precision)

    @model_validator(mode="after")
    def _check_dropped(self) -> Self:
        if self.dropped_halves and self.dropped_blocks:
            raise ValueError(
                "halves are left out each by itself, and blocks in the order of their influence: "
                "give dropped_halves or dropped_blocks, not both"
            )
        return self
