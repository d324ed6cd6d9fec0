"""What one may set of a distillation."""

from __future__ import annotations

from pydantic import BaseModel, PositiveFloat

from elasticnas.api_schemas.training import Share


class DistillationSettings(BaseModel):
    """A student's loss is ``task_weight`` of the labels' and ``distillation_weight`` of the other.

    The other is how far the student's logits are from the teacher's, both softened by
    ``temperature``. The defaults are EFTNAS's (Munoz et al. 2024, section 4.1).
    """

    temperature: PositiveFloat = 2.0
    task_weight: Share = 0.1
    distillation_weight: Share = 0.9
