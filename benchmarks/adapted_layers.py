"""Adapters in chosen layers of a model, trained and measured: what a choice of layers is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from benchmarks.undisturbed import undisturbed
from elasticnas.api_schemas.flexora_training import FlexoraSettings
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.base_model import BaseModel
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.methods.flexora import adaptation
from elasticnas.supernet.methods.lonas import new_supernet, trainable_tensors
from elasticnas.supernet.methods.pretrained import pretrained, training_rows
from elasticnas.supernet.methods.step import StepRun, TrainingData
from elasticnas.supernet.selection.splits import Split, split_rows
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.training.loop import fit
from elasticnas.supernet.training.rows import TrainingRows

CPU = torch.device("cpu")
SCORING_BATCH = 64


@dataclass(frozen=True)
class Subject:
    """A model and rows, for one seed."""

    base: Path
    data: TrainingData
    settings: FlexoraSettings

    def run(self, output: Path, **changes: Any) -> StepRun:
        """A run of a step on these, with changed settings."""
        settings = self.settings.model_copy(update=changes)
        return undisturbed(settings, self.base, self.data, output)

    @property
    def split(self) -> Split:
        """The rows that choosing learns from, and those that it may look at."""
        return split_rows(self.settings, len(self.data.rows), self.settings.seed)

    def read(self) -> BaseModel:
        """The model with a new head, the same one for all methods."""
        torch.manual_seed(self.settings.seed)
        return pretrained(self.base, self.data)

    @cached_property
    def rows(self) -> TrainingRows:
        """All of its rows."""
        return training_rows(self.base, self.data, self.settings, self.read())

    @property
    def labels(self) -> torch.Tensor:
        """The classes of its rows, (rows,)."""
        return torch.as_tensor(self.data.rows.labels)

    @cached_property
    def inner(self) -> Subject:
        """The same with those rows alone that choosing learns from."""
        return replace(self, data=replace(self.data, rows=self.data.rows.select(self.split.inner)))


def trained(subject: Subject, layers: Sequence[int], steps: int, **changes: Any) -> Supernet:
    """A model with adapters in these layers, trained with its head on the subject's rows."""
    run = subject.run(Path(), steps=steps, **changes)
    base = subject.read()
    whole = adaptation(run.settings)
    family = base.family
    modules = [
        module
        for layer in layers or range(1)
        for module in family.modules(layer, whole.roles(family))
    ]
    supernet = new_supernet(run, base, whole, modules)
    tensors = trainable_tensors(supernet)
    if not layers:  # one adapter that stays zero: the head is trained alone
        tensors = {name: each for name, each in tensors.items() if ".lora_" not in name}
    fit(run, supernet, subject.rows, tensors)
    return supernet


@dataclass(frozen=True)
class Score:
    """On some rows: the mean loss and the accuracy."""

    loss: float
    accuracy: float


Logits = Callable[[Sequence[int]], torch.Tensor]
"""What a model gives for rows of these numbers, (rows, classes)."""


def logits_of(supernet: Supernet, subject: Subject, subnet: SubnetConfig | None = None) -> Logits:
    """Those of a subnet for the subject's rows; of the maximal one by default."""
    active = activate(supernet, subnet or supernet.space.maximal)
    return lambda batch: subject.rows.logits(active, batch, CPU)


def scored(logits: Logits, subject: Subject, chosen: Sequence[int] | None = None) -> Score:
    """On the ``chosen`` rows of a subject, by default on all."""
    lengths, labels = subject.rows.lengths, subject.labels
    order = sorted(range(len(labels)) if chosen is None else chosen, key=lambda row: lengths[row])
    losses, hits = 0.0, 0
    with torch.inference_mode():
        for at in range(0, len(order), SCORING_BATCH):
            batch = order[at : at + SCORING_BATCH]
            found = logits(batch)
            losses += float(subject.rows.loss_of(found, batch)) * len(batch)
            hits += int((found.argmax(-1) == labels[batch]).sum())
    return Score(losses / len(order), hits / len(order))
