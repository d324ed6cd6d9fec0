"""Fine-tuning a LoNAS super-network: a random subnet at every step, one set of weights.

Munoz, Yuan, Jain 2024, "LoNAS: Elastic Low-Rank Adapters for Efficient Large Language Models",
section 3: the base stays frozen; adapters and head are trained through whichever subnet is active.
A random subnet is hardly ever near the maximal one, which LoNAS's recipe therefore trains least of
all. `Sampling.ALTERNATE` trains the maximal subnet at every other step. The sandwich rule (Yu &
Huang 2019, "Universally Slimmable Networks and Improved Training Techniques", section 3.1) has it
in every step, with random ones and the minimal one, for several times the cost of a step.

A subnet is trained through the very tensors that an evaluation of it uses: slices with the adapter
merged, so there is no second implementation of a subnet that could disagree with the first.
"""

from __future__ import annotations

import dataclasses
import io
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from elasticnas.api_schemas.metrics import Task
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.supernets import Method
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.base_model import classifier_for_training
from elasticnas.supernet.checkpoint.space_file import SpaceFile, elastic_part
from elasticnas.supernet.checkpoint.tokenizer import read_tokenizer
from elasticnas.supernet.checkpoint.writer import write_supernet
from elasticnas.supernet.default_space import default_space
from elasticnas.supernet.examples import LabelledTexts, TokenizedExamples, tokenize
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.plan import ModelShape
from elasticnas.supernet.supernet import LoraAdapter, Supernet, named_tensors

STATE_FILE = "training_state.pt"
GROUP = 16
"""Of how many batches' rows `TrainingSettings.group_by_length` makes batches of like length."""


class Sampling(StrEnum):
    """Which subnet a step trains."""

    RANDOM = "random"
    """Every choice drawn uniformly and independently: LoNAS's recipe."""

    ALTERNATE = "alternate"
    """The maximal subnet and a random one in turn, the maximal one first."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to fine-tune. ``steps`` are optimiser steps; ``warmup`` is their share with rising rate.

    Without ``dropout`` a step is cheaper, too: the last layer computes only what the head sees.
    With ``group_by_length`` a batch has rows of like length, so less padding; which rows share a
    batch is then less random.

    ``adapted`` are the roles of the layers that get an adapter (`families.family.Role`).
    """

    steps: int
    batch_size: int = 32
    learning_rate: float = 5e-4
    weight_decay: float = 0.0
    warmup: float = 0.06
    max_length: int = 128
    sampling: Sampling = Sampling.RANDOM
    dropout: bool = True
    group_by_length: bool = False
    seed: int = 0
    lora_rank: int = 8
    lora_alpha: float = 16.0
    adapted: tuple[str, ...] = ("query", "value")
    save_every: int = 200


@dataclass(frozen=True)
class TrainingStep:
    """One finished step: its number from 1, how many there will be, and its mean loss."""

    step: int
    steps: int
    loss: float


def train(
    base: Path,
    rows: LabelledTexts,
    output: Path,
    settings: TrainingSettings,
    *,
    task: Task,
    labels: int,
    label_names: tuple[str, ...] | None = None,
    space: SpaceFile | None = None,
    resume: bool = False,
    device: torch.device | None = None,
    on_step: Callable[[TrainingStep], None] | None = None,
) -> Path:
    """Fine-tune a super-network and write it to ``output`` as a checkpoint that can be registered.

    The result depends on the arguments alone: batches, subnets, dropout and initialisation are
    drawn from ``settings.seed`` and the step. Progress is saved every ``save_every`` steps, and
    ``resume`` goes on from there to the very same result.

    Args:
        base: Hugging Face folder of the pretrained encoder.
        rows: the training data.
        output: a folder that does not exist yet, or (with ``resume``) one that was begun before.
        labels: number of classes, 1 for regression.
        space: the search space; `default_space` where None.

    Returns:
        ``output``.

    Raises:
        InputError: a base model or space that cannot be used, an output folder that is in the way,
            or a resumed training with other settings.
    """
    device = device or torch.device("cpu")
    state_file = output / STATE_FILE
    if output.exists() and not resume:
        raise InputError(
            "the output folder is there already",
            field="output",
            value=output,
            remedy="choose another folder, or resume the training that was begun there",
        )
    supernet = _new_supernet(base, settings, labels, label_names, space).to(device, torch.float32)
    trainable = _trainable(supernet)
    optimizer = torch.optim.AdamW(
        trainable.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    first = _restore(state_file, settings, trainable, optimizer) if resume else 0
    examples = tokenize(
        rows,
        read_tokenizer(base),
        supernet.family,
        task=task,
        max_length=settings.max_length,
    )
    _check_length(supernet, examples)
    supernet.model.train(settings.dropout)
    for step in range(first, settings.steps):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step, settings)
        loss = _step(supernet, examples, settings, step, task, device)
        optimizer.step()
        optimizer.zero_grad()
        if on_step is not None:
            on_step(TrainingStep(step + 1, settings.steps, loss))
        if (step + 1) % settings.save_every == 0 and step + 1 < settings.steps:
            _save(state_file, settings, step + 1, trainable, optimizer)
    supernet.model.train(False)
    write_supernet(supernet.to(torch.device("cpu"), torch.float32), base, output)
    state_file.unlink(missing_ok=True)
    return output


def _check_length(supernet: Supernet, examples: TokenizedExamples) -> None:
    """The longest row must have a position for every token."""
    longest = max(map(len, examples.token_ids), default=0)
    carried = supernet.family.longest(supernet.config)
    if longest > carried:
        raise InputError(
            f"a row has {longest} tokens, the model carries {carried} positions",
            field="max_length",
            value=examples.max_length,
            remedy=f"cut rows to at most {carried} tokens",
        )


def _step(
    supernet: Supernet,
    examples: TokenizedExamples,
    settings: TrainingSettings,
    step: int,
    task: Task,
    device: torch.device,
) -> float:
    """Compute the gradients of one step; returns its mean loss."""
    torch.manual_seed(_seed(settings.seed, step))
    rows = batch_rows(examples, settings, step)
    batch = examples.batch(rows).to(device)
    labels = examples.labels[rows].to(device)
    logits = activate(supernet, _subnet(supernet, settings, step)).logits(batch.inputs)
    loss = _loss(logits, labels, task)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _loss(logits: torch.Tensor, labels: torch.Tensor, task: Task) -> torch.Tensor:
    """Squared error or cross-entropy of ``logits`` (rows, outputs) against labels (rows)."""
    if task is Task.REGRESSION:
        return functional.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))
    return functional.cross_entropy(logits, labels)


def _subnet(supernet: Supernet, settings: TrainingSettings, step: int) -> SubnetConfig:
    """Who is trained at this step."""
    space = supernet.space
    if settings.sampling is Sampling.ALTERNATE and step % 2 == 0:
        return space.maximal
    rng = random.Random(_seed(settings.seed, step))
    return space.decode([rng.randrange(count) for count in space.cardinalities])


def batch_rows(examples: TokenizedExamples, settings: TrainingSettings, step: int) -> list[int]:
    """The rows of one step: consecutive pieces of a permutation that is new every epoch.

    Grouped by length, the rows of so many pieces are sorted, and all pieces are taken in random
    order: no part of an epoch has the short rows only.
    """
    count = len(examples)
    size = min(settings.batch_size, count)
    per_epoch = count // size
    epoch, place = divmod(step, per_epoch)
    generator = torch.Generator().manual_seed(_seed(settings.seed, -1 - epoch))
    order = torch.randperm(count, generator=generator)[: per_epoch * size].tolist()
    if settings.group_by_length:
        order = [
            row
            for start in range(0, len(order), GROUP * size)
            for row in sorted(
                order[start : start + GROUP * size], key=lambda row: len(examples.token_ids[row])
            )
        ]
        place = int(torch.randperm(per_epoch, generator=generator)[place])
    return order[place * size : (place + 1) * size]


def _schedule(step: int, settings: TrainingSettings) -> float:
    """The share of the full learning rate: linear warm-up, then linear decay to zero."""
    warmup = max(1, round(settings.warmup * settings.steps))
    if step < warmup:
        return (step + 1) / warmup
    return (settings.steps - step) / max(1, settings.steps - warmup)


def _new_supernet(
    base: Path,
    settings: TrainingSettings,
    labels: int,
    label_names: tuple[str, ...] | None,
    space: SpaceFile | None,
) -> Supernet:
    """A super-network with fresh adapters (A uniform, B zero: Hu et al. 2021) and a fresh head."""
    torch.manual_seed(settings.seed)
    classifier = classifier_for_training(base, labels, label_names)
    family, model = classifier.family, classifier.model
    adapters = {}
    for layer in range(family.num_layers(model.config)):
        for role in settings.adapted:
            module = family.module(layer, role)
            outputs, inputs = model.get_parameter(f"{module}.weight").shape
            a = torch.empty(settings.lora_rank, inputs)
            nn.init.kaiming_uniform_(a, a=math.sqrt(5))
            scaling = settings.lora_alpha / settings.lora_rank
            adapters[module] = LoraAdapter(a, torch.zeros(outputs, settings.lora_rank), scaling)
    tensors = named_tensors(model, adapters)
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    shape = ModelShape(family, model.config, shapes)
    elastic = elastic_part(space or default_space(shape, rank=settings.lora_rank), shape)
    supernet = Supernet(
        method=Method.ELASTICNAS,
        family=family,
        model=model,
        adapters=adapters,
        space=elastic.space,
        plan=elastic.plan,
        reference_length=elastic.reference_length or settings.max_length,
        folder=base.parent,
        label_names=label_names,
        head_tensors=classifier.new_tensors,
    )
    elastic.plan.validate(elastic.space, shapes)
    return supernet


def _trainable(supernet: Supernet) -> dict[str, torch.Tensor]:
    """The adapters and the head, by name, set to require gradients."""
    trained = tuple(f"{module}." for module in supernet.task_head.trained)
    return {
        name: tensor.requires_grad_(True)
        for name, tensor in supernet.tensors.items()
        if ".lora_" in name or name.startswith(trained)
    }


def _save(
    file: Path,
    settings: TrainingSettings,
    step: int,
    trainable: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write the state under another name first: a crash leaves the last one whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    content = io.BytesIO()  # torch's own writing to a file does not say why it failed
    torch.save(
        {
            "settings": _plain(settings),
            "step": step,
            "tensors": {name: tensor.detach() for name, tensor in trainable.items()},
            "optimizer": optimizer.state_dict(),
        },
        content,
    )
    partial.write_bytes(content.getbuffer())
    partial.replace(file)


def _restore(
    file: Path,
    settings: TrainingSettings,
    trainable: dict[str, torch.Tensor],
    optimizer: torch.optim.Optimizer,
) -> int:
    """Put the saved state back; returns how many steps were done."""
    if not file.is_file():
        return 0
    state = torch.load(file, map_location="cpu", weights_only=True)
    if state["settings"] != _plain(settings):
        changed = [
            name for name, value in _plain(settings).items() if state["settings"].get(name) != value
        ]
        raise InputError(
            "the training was begun with other settings",
            field="resume",
            value=", ".join(changed),
            remedy="resume with the settings it was begun with, or choose another output folder",
        )
    with torch.no_grad():
        for name, tensor in trainable.items():
            tensor.copy_(state["tensors"][name])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _plain(settings: TrainingSettings) -> dict[str, object]:
    """The settings as the state file has them: torch reads no enumeration back from one."""
    return dataclasses.asdict(settings) | {"sampling": settings.sampling.value}


def _seed(seed: int, step: int) -> int:
    """A seed for one step, different from those of all steps near it."""
    return random.Random(f"{seed}/{step}").getrandbits(63)
