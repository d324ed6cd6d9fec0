"""What one may set of EFTNAS's recipe."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from elasticnas.api_schemas.distillation import DistillationSettings
from elasticnas.api_schemas.training import (
    Count,
    CutShare,
    Importance,
    OptimiserSettings,
    Schedule,
    Share,
)


class TeacherFrom(StrEnum):
    """Where the teacher comes from."""

    FINE_TUNED = "fine-tuned"
    """It is the base, fine-tuned on the rows."""
    GIVEN = "given"
    """It is the base itself, which has been fine-tuned for the rows' task."""


class StartFrom(StrEnum):
    """The weights that the super-network begins with."""

    TEACHER = "teacher"
    PRETRAINED = "pretrained"
    """The base with a new head, as in the paper."""


Epochs = Annotated[float, Field(gt=0, le=10_000)]


class EftnasSettings(OptimiserSettings, DistillationSettings):
    """How a model becomes a super-network by EFTNAS; the optimiser's settings are of its last step.

    A teacher that is ``fine-tuned`` takes ``teacher_epochs``, its rate falling linearly from
    ``teacher_learning_rate``.

    Heads and neurons are ranked by their ``importance``: first-order scores of the teacher on
    ``calibration_rows`` of the dataset, the norms of its weights, or ``movement``. The last is
    learnt from the start model on all rows, at a rate that would fall to zero in
    ``movement_epochs``: a sixth of them without masks, a third while the threshold rises. There it
    ends, as in the original.

    ``targets`` are shares of the full cost. ``start`` are the weights that are put into order.
    """

    epochs: Epochs = 3.0
    learning_rate: PositiveFloat = 1e-4
    warmup: Share = 0.0
    schedule: Schedule = Schedule.COSINE
    max_gradient_norm: PositiveFloat | None = 1.0
    group_by_length: bool = True
    teacher: TeacherFrom = TeacherFrom.FINE_TUNED
    teacher_epochs: Epochs = 3.0
    teacher_learning_rate: PositiveFloat = 1e-4
    start: StartFrom = StartFrom.TEACHER
    importance: Importance | Literal["movement"] = Importance.FISHER
    calibration_rows: Count = 512
    movement_epochs: Annotated[float, Field(ge=6, le=10_000)] = 6.0
    movement_learning_rate: PositiveFloat = 1e-4
    targets: Annotated[tuple[CutShare, ...], Field(min_length=1)] = (0.85, 0.7, 0.55, 0.4)

    @model_validator(mode="after")
    def _check_start(self) -> Self:
        if self.teacher is TeacherFrom.GIVEN and self.start is StartFrom.PRETRAINED:
            raise ValueError(
                "a teacher that is given is the only model there is: start from the teacher, or "
                "have it fine-tuned from a pretrained base"
            )
        return self
