"""LoNAS: fine-tuning elastic low-rank adapters, a random subnet at every step.

Munoz, Yuan, Jain 2024, "LoNAS: Elastic Low-Rank Adapters for Efficient Large Language Models",
section 3: the base stays frozen; adapters and head are trained through whichever subnet is active.
A random subnet is hardly ever near the maximal one, which LoNAS's recipe therefore trains least of
all. `Sampling.ALTERNATE` trains the maximal subnet at every other step. The sandwich rule (Yu &
Huang 2019, "Universally Slimmable Networks and Improved Training Techniques", section 3.1) has it
in every step, with random ones and the minimal one, for several times the cost of a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.training import TrainingSettings
from elasticnas.supernet.checkpoint.base_model import BaseModel
from elasticnas.supernet.checkpoint.writer import write_supernet
from elasticnas.supernet.default_space import default_space
from elasticnas.supernet.families.family import ATTENTION_ROLES, FFN_ROLES, Family, Role
from elasticnas.supernet.formats.elasticnas import ELASTICNAS, elastic_part
from elasticnas.supernet.formats.space_file import SpaceFile, parse_space
from elasticnas.supernet.methods.pretrained import pretrained, training_rows
from elasticnas.supernet.methods.step import StepRun
from elasticnas.supernet.plan import Join, ModelShape
from elasticnas.supernet.supernet import LoraAdapter, Supernet, named_tensors
from elasticnas.supernet.training.loop import fit


@dataclass(frozen=True)
class Adaptation:
    """Which layers of a family a method adapts, and the space that it lays over a model."""

    roles: Callable[[Family], Sequence[Role]]
    space: Callable[..., SpaceFile]


def lonas_roles(family: Family) -> Sequence[Role]:
    """Query and value of an encoder; of a decoder all but attention's output."""
    if not family.is_causal:
        return (Role.QUERY, Role.VALUE)
    return (*ATTENTION_ROLES, *FFN_ROLES, Role.FFN_OUT)


LONAS = Adaptation(lonas_roles, default_space)


def train(run: StepRun) -> None:
    """Fine-tune a super-network on a pretrained model, and leave it as a checkpoint.

    Raises:
        InputError: a base model or space that cannot be used, or rows that are too long.
        StepStoppedError: the run must stop.
    """
    fine_tune(run, LONAS)


def fine_tune(run: StepRun, adaptation: Adaptation) -> None:
    """Train the adapters and the head of a new super-network; see `train`."""
    settings: TrainingSettings = run.settings
    torch.manual_seed(settings.seed)
    base = pretrained(run.source, run.data)
    supernet = new_supernet(run, base, adaptation)
    rows = training_rows(run.source, run.data, settings, base)
    fit(run, supernet, rows, trainable_tensors(supernet))
    write_supernet(supernet, run.source, run.output)


def new_supernet(
    run: StepRun,
    base: BaseModel,
    adaptation: Adaptation,
    modules: Collection[str] | None = None,
) -> Supernet:
    """A super-network with fresh adapters (A uniform, B zero: Hu et al. 2021), on the device.

    Of those that the method adapts ``modules`` are adapted alone, None are all.

    Raises:
        InputError: roles, space or precision do not fit the model.
    """
    settings: TrainingSettings = run.settings
    if base.task_head.trained and settings.precision is not Precision.FLOAT32:
        raise InputError(
            "a new head is trained in float32, with the model that it belongs to",
            field="precision",
            value=settings.precision.value,
            remedy=f"leave it at {Precision.FLOAT32}",
        )
    family, model = base.family, base.model
    # Merged, an adapter is small beside an encoder's matrix; a language model's is too large to
    # have a gradient of its own at every step.
    join = Join.UNMERGED if family.is_causal else Join.PLAIN
    adapters = {}
    for layer in range(family.num_layers(model.config)):
        for module in family.modules(layer, _roles(settings, family, adaptation)):
            if modules is not None and module not in modules:
                continue
            outputs, inputs = model.get_parameter(f"{module}.weight").shape
            a = torch.empty(settings.lora_rank, inputs)
            nn.init.kaiming_uniform_(a, a=math.sqrt(5))
            b = torch.zeros(outputs, settings.lora_rank)
            scaling = settings.lora_alpha / settings.lora_rank
            adapters[module] = LoraAdapter(a, b, scaling, join)
    shape = ModelShape.of(family, model.config, named_tensors(model, adapters))
    space = (
        adaptation.space(shape, rank=settings.lora_rank, ranks=settings.ranks)
        if settings.space is None
        else parse_space(settings.space, field="space")
    )
    elastic = elastic_part(space, shape)
    supernet = Supernet(
        method=ELASTICNAS.name,
        family=family,
        model=model,
        adapters=adapters,
        space=elastic.space,
        plan=elastic.plan,
        reference_length=elastic.reference_length or settings.max_length,
        folder=run.source.parent,
        label_names=run.data.label_names,
        head_tensors=base.new_tensors,
    )
    elastic.plan.validate(elastic.space, shape.shapes)
    return supernet.to(run.device, getattr(torch, settings.precision))


def _roles(settings: TrainingSettings, family: Family, adaptation: Adaptation) -> Sequence[Role]:
    """The roles that get an adapter.

    Raises:
        InputError: the model's blocks have no layer with one of them.
    """
    if settings.adapted is None:
        return adaptation.roles(family)
    for role in settings.adapted:
        if role not in family.linears:
            raise InputError(
                f"the blocks of a {family.model_type} have no linear layer with this role",
                field="adapted",
                value=role,
                remedy=f"choose among {', '.join(family.linears)}",
            )
    return [Role(role) for role in settings.adapted]


def trainable_tensors(supernet: Supernet) -> dict[str, torch.Tensor]:
    """The adapters and the head that comes with them, by name, set to require gradients."""
    trained = tuple(f"{module}." for module in supernet.task_head.trained)
    head = {name for name in supernet.head_tensors if name.startswith(trained)}
    return {
        name: tensor.requires_grad_(True)
        for name, tensor in supernet.tensors.items()
        if ".lora_" in name or name in head
    }
