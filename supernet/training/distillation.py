"""Distillation: students learn what a teacher gives for a row, beside the row's label.

Hinton, Vinyals, Dean 2015, "Distilling the Knowledge in a Neural Network", section 2: the
divergence of the two distributions at a temperature T, times T squared, so that its gradient keeps
its size whatever T is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from elasticnas.api_schemas.distillation import DistillationSettings

if TYPE_CHECKING:
    from elasticnas.supernet.forward.activation import ActiveSubnet
    from elasticnas.supernet.training.rows import TrainingRows

Teacher = Callable[[Sequence[int]], torch.Tensor]
"""The logits of some rows, as `TrainingRows.logits` has them of a student."""


@dataclass(frozen=True)
class Distillation:
    """Students that learn ``rows`` from their labels and from a ``teacher``."""

    rows: TrainingRows
    teacher: Teacher
    settings: DistillationSettings
    device: torch.device

    def learn(self, students: Iterable[ActiveSubnet], batch: Sequence[int]) -> float:
        """Add up the gradients of all students on a batch; returns their mean loss.

        The teacher is asked once. A student is run when its turn comes, one at a time.
        """
        taught = self.teacher(batch).to(self.device)
        losses = []
        for student in students:
            loss = self.loss(self.rows.logits(student, batch, self.device), taught, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(float(loss.detach()))
        return sum(losses) / len(losses)

    def loss(
        self, student: torch.Tensor, teacher: torch.Tensor, batch: Sequence[int]
    ) -> torch.Tensor:
        """The loss of a student's logits for a batch, given the teacher's."""
        weights = self.settings
        soft = self.rows.distance(student, teacher, batch, weights.temperature)
        if weights.task_weight == 0:
            return weights.distillation_weight * soft
        task = self.rows.loss_of(student, batch)
        return weights.task_weight * task + weights.distillation_weight * soft


def running(rows: TrainingRows, model: ActiveSubnet, device: torch.device) -> Teacher:
    """A teacher that is run for every batch, without gradients.

    Its module must be in evaluation mode: one that students share while they train with dropout
    is none.
    """

    def logits(batch: Sequence[int]) -> torch.Tensor:
        with torch.no_grad():
            return rows.logits(model, batch, device)

    return logits


def soft_divergence(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float
) -> torch.Tensor:
    """``T^2 KL(teacher / T || student / T)``, the mean over rows, of logits (rows, classes)."""
    return (
        functional.kl_div(
            functional.log_softmax(student.float() / temperature, dim=-1),
            functional.log_softmax(teacher.float() / temperature, dim=-1),
            reduction="batchmean",
            log_target=True,
        )
        * temperature**2
    )
