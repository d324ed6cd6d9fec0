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
from pathlib import Path

import torch
from torch import nn

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.training import TrainingSettings
from elasticnas.supernet.checkpoint.base_model import classifier_for_training
from elasticnas.supernet.checkpoint.tokenizer import read_tokenizer
from elasticnas.supernet.checkpoint.writer import write_supernet
from elasticnas.supernet.default_space import default_space
from elasticnas.supernet.formats.elasticnas import ELASTICNAS, elastic_part
from elasticnas.supernet.formats.space_file import parse_space
from elasticnas.supernet.measuring.examples import TokenizedExamples, tokenize
from elasticnas.supernet.methods.step import StepRun, TrainingData
from elasticnas.supernet.plan import ModelShape
from elasticnas.supernet.supernet import LoraAdapter, Supernet, named_tensors
from elasticnas.supernet.training.loop import fit


def train(run: StepRun) -> None:
    """Fine-tune a super-network on a pretrained encoder, and leave it as a checkpoint.

    Raises:
        InputError: a base model or space that cannot be used, or rows that are too long.
        StepStoppedError: the run must stop.
    """
    settings: TrainingSettings = run.settings
    supernet = _new_supernet(run.source, settings, run.data).to(run.device, torch.float32)
    trainable = _trainable(supernet)
    examples = tokenize(
        run.data.rows,
        read_tokenizer(run.source),
        supernet.family,
        task=run.data.task,
        max_length=settings.max_length,
    )
    _check_length(supernet, examples)
    fit(run, supernet, examples, trainable)
    cpu = torch.device("cpu")
    write_supernet(supernet.to(cpu, torch.float32), run.source, run.output)


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


def _new_supernet(base: Path, settings: TrainingSettings, data: TrainingData) -> Supernet:
    """A super-network with fresh adapters (A uniform, B zero: Hu et al. 2021) and a fresh head."""
    torch.manual_seed(settings.seed)
    classifier = classifier_for_training(base, data.labels, data.label_names)
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
    space = None if settings.space is None else parse_space(settings.space, field="space")
    elastic = elastic_part(space or default_space(shape, rank=settings.lora_rank), shape)
    supernet = Supernet(
        method=ELASTICNAS.name,
        family=family,
        model=model,
        adapters=adapters,
        space=elastic.space,
        plan=elastic.plan,
        reference_length=elastic.reference_length or settings.max_length,
        folder=base.parent,
        label_names=data.label_names,
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
