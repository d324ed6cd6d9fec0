"""What one may set of a distillation."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, PositiveFloat

Weight = Annotated[float, Field(ge=0, le=1)]


class DistillationSettings(BaseModel):
    """A student's loss is ``task_weight`` of the labels' and ``distillation_weight`` of the other.

    The other is how far the student's logits are from the teacher's, both softened by
    ``temperature``. The defaults are EFTNAS's (Munoz et al. 2024, section 4.1).
    """

    temperature: PositiveFloat = 2.0
    task_weight: Weight = 0.1
    distillation_weight: Weight = 0.9
