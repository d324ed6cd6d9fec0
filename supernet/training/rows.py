"""Rows to learn from: batches of them, and the loss of a subnet on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch.nn import functional

from elasticnas.supernet.elasticity.own_labels import class_losses, token_loss
from elasticnas.supernet.forward.activation import ActiveSubnet
from elasticnas.supernet.measuring.examples import Inputs, TokenizedExamples
from elasticnas.supernet.measuring.trees import TreeExamples
from elasticnas.supernet.training.distillation import soft_divergence
from elasticnas.tasks import TEXT_REGRESSION, Task


class TrainingRows(Protocol):
    """Rows that a super-network learns from."""

    @property
    def lengths(self) -> Sequence[int]:
        """How many tokens each row has."""
        ...

    def inputs(self, rows: Sequence[int]) -> Inputs:
        """What a model is called with for these rows."""
        ...

    def loss(self, active: ActiveSubnet, rows: Sequence[int], device: torch.device) -> torch.Tensor:
        """The mean loss of a subnet on these rows, through which gradients flow."""
        return self.loss_of(self.logits(active, rows, device), rows)

    def logits(
        self, active: ActiveSubnet, rows: Sequence[int], device: torch.device
    ) -> torch.Tensor:
        """What a subnet gives for these rows; what is learnt and distilled depends on it alone."""
        ...

    def loss_of(self, logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """The mean loss of what `logits` gave for these rows."""
        ...

    def distance(
        self, student: torch.Tensor, teacher: torch.Tensor, rows: Sequence[int], temperature: float
    ) -> torch.Tensor:
        """How far the logits of two subnets for these rows are apart (`distillation`)."""
        ...

    def own_losses(
        self,
        active: ActiveSubnet,
        rows: Sequence[int],
        device: torch.device,
        generator: torch.Generator,
    ) -> list[torch.Tensor]:
        """Sums over rows of losses for what the subnet itself would say (`own_labels`)."""
        ...


@dataclass(frozen=True)
class LabelledRows(TrainingRows):
    """Rows with a class or a number each."""

    examples: TokenizedExamples
    task: Task

    @cached_property
    def lengths(self) -> list[int]:
        """See `TrainingRows.lengths`."""
        return [len(tokens) for tokens in self.examples.token_ids]

    def inputs(self, rows: Sequence[int]) -> Inputs:
        """See `TrainingRows.inputs`."""
        return self.examples.batch(rows).inputs

    def logits(
        self, active: ActiveSubnet, rows: Sequence[int], device: torch.device
    ) -> torch.Tensor:
        """See `TrainingRows.logits`: (rows, labels)."""
        return active.logits(self.examples.batch(rows).to(device).inputs)

    def loss_of(self, logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """Cross-entropy, of a regression the squared error."""
        labels = torch.as_tensor(self.examples.labels[list(rows)]).to(logits.device)
        if self.task is TEXT_REGRESSION:
            return functional.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))
        return functional.cross_entropy(logits, labels)

    def distance(
        self, student: torch.Tensor, teacher: torch.Tensor, rows: Sequence[int], temperature: float
    ) -> torch.Tensor:
        """See `TrainingRows.distance`; of a regression the squared error."""
        del rows
        if self.task is TEXT_REGRESSION:
            return functional.mse_loss(student, teacher)
        return soft_divergence(student, teacher, temperature)

    def own_losses(
        self,
        active: ActiveSubnet,
        rows: Sequence[int],
        device: torch.device,
        generator: torch.Generator,
    ) -> list[torch.Tensor]:
        """See `TrainingRows.own_losses`."""
        batch = self.examples.batch(rows).to(device)
        return class_losses(active.logits(batch.inputs), generator)


@dataclass(frozen=True)
class AnsweredRows(TrainingRows):
    """Texts whose scored tokens a language model learns to foretell."""

    examples: TreeExamples

    @cached_property
    def lengths(self) -> list[int]:
        """See `TrainingRows.lengths`."""
        return [self.examples.length(row) for row in range(len(self.examples))]

    def inputs(self, rows: Sequence[int]) -> Inputs:
        """See `TrainingRows.inputs`."""
        return self.examples.batch(rows).inputs

    def loss(self, active: ActiveSubnet, rows: Sequence[int], device: torch.device) -> torch.Tensor:
        """The mean cross-entropy of the scored tokens of all these rows, put together once."""
        batch = self.examples.batch(rows).to(device)
        logits = active.logits(batch.inputs, batch.at)
        return functional.cross_entropy(logits.float(), batch.foretold)

    def logits(
        self, active: ActiveSubnet, rows: Sequence[int], device: torch.device
    ) -> torch.Tensor:
        """See `TrainingRows.logits`: (scored tokens of all rows, vocabulary)."""
        batch = self.examples.batch(rows).to(device)
        return active.logits(batch.inputs, batch.at)

    def loss_of(self, logits: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
        """See `TrainingRows.loss_of`."""
        foretold = self.examples.batch(rows).foretold.to(logits.device)
        return functional.cross_entropy(logits.float(), foretold)

    def distance(
        self, student: torch.Tensor, teacher: torch.Tensor, rows: Sequence[int], temperature: float
    ) -> torch.Tensor:
        """See `TrainingRows.distance`: the mean over the scored tokens."""
        del rows
        return soft_divergence(student, teacher, temperature)

    def own_losses(
        self,
        active: ActiveSubnet,
        rows: Sequence[int],
        device: torch.device,
        generator: torch.Generator,
    ) -> list[torch.Tensor]:
        """See `TrainingRows.own_losses`. A row's loss is the mean over the tokens of the batch."""
        batch = self.examples.batch(rows).to(device)
        return [token_loss(active.logits(batch.inputs, batch.at), generator) * len(rows)]
