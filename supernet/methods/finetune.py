"""Training a chosen subnet on by itself, taught by the maximal subnet of its super-network.

A super-network's weights serve all of its subnets; those of one that is chosen need serve no other
any more. Its loss is that of the labels and its distance from the teacher's logits (Hinton et al.
2015, "Distilling the Knowledge in a Neural Network", section 2).

`train` leaves the tensors that it has learnt, `measure` the model, an ordinary folder of
Transformers, with what it measures and what the subnet measured before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from elasticnas.api_schemas.conditions import Conditions
from elasticnas.api_schemas.finetuning import BEFORE, FinetuneSettings, Trained
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.weights import FinetunedCard, SubnetCard
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.base_model import BaseModel
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.export.transformers_folder import write_transformers_folder
from elasticnas.supernet.extraction import Extracted, extract, extract_adapters
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.examples import Examples
from elasticnas.supernet.measuring.measure import laps_of
from elasticnas.supernet.measuring.measure import measure as measured_on
from elasticnas.supernet.measuring.stored_examples import read_examples
from elasticnas.supernet.methods.pretrained import training_rows
from elasticnas.supernet.methods.step import Chosen, StepRun, TrainingData
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.training.distillation import Distillation, running
from elasticnas.supernet.training.loop import batch_rows, optimise
from elasticnas.supernet.training.rows import TrainingRows
from elasticnas.tasks import TASKS
from elasticnas.tasks.settings import validated

Metrics = dict[str, dict[str, float]]
"""The subnet's metrics ``before`` and ``after`` its training."""

TENSORS_FILE = "tensors.safetensors"
METRICS_FILE = "metrics.json"
SPARSE = 0.1
"""A matrix of so large a share of zeros is sparse on purpose."""
TOKENS = 4096
"""So many tokens at most are in a batch that is measured."""


def train(run: StepRun) -> None:
    """Train the subnet's weights, or its adapters, and leave them.

    Raises:
        InputError: the super-network or a row cannot be used.
        StepStoppedError: the run must stop.
    """
    settings: FinetuneSettings = run.settings
    chosen = _chosen(run)
    supernet = read_supernet(chosen.supernet)
    supernet = supernet.to(run.device, getattr(torch, settings.precision))
    rows = rows_to_learn(supernet, run.data, settings)
    own = learnt(run, supernet, supernet.space.subnet(chosen.said.subnet), rows)
    stored = {
        name: tensor.detach().to("cpu", supernet.stored_dtype(name)).contiguous()
        for name, tensor in own.tensors.items()
    }
    save_file(stored, run.output / TENSORS_FILE)


def rows_to_learn(
    supernet: Supernet, data: TrainingData, settings: FinetuneSettings
) -> TrainingRows:
    """The rows as a subnet learns from them.

    Raises:
        InputError: one cannot be used.
    """
    described = BaseModel(supernet.family, supernet.model, supernet.task_head, supernet.label_names)
    return training_rows(supernet.base_folder, data, settings, described)


def learnt(
    run: StepRun,
    supernet: Supernet,
    subnet: SubnetConfig,
    rows: TrainingRows,
    own: Extracted | None = None,
) -> Extracted:
    """A subnet as it is once trained, apart from the super-network, which stays what it was.

    It is trained as it is its ``own``, by default with the super-network's weights. What comes of
    it depends on these, the settings, the rows and the super-network alone.

    Raises:
        InputError: adapters are to be trained, and there are none.
        StepStoppedError: the run must stop.
    """
    settings: FinetuneSettings = run.settings
    own = extracted(settings, supernet, subnet) if own is None else own
    model = own.supernet.model
    teacher = running(rows, activate(supernet, supernet.space.maximal), run.device)
    distillation = Distillation(rows, teacher, settings, run.device)
    trainable = {name: tensor.requires_grad_(True) for name, tensor in own.tensors.items()}
    if settings.keep_zeros:
        _keep_zeros(trainable)

    def learn(step: int) -> float:
        student = activate(own.supernet, subnet)
        return distillation.learn([student], batch_rows(rows.lengths, settings, step))

    model.train(settings.dropout)
    try:
        optimise(run, settings, len(rows.lengths), trainable, learn)
    finally:  # also as it is where the run stops, it may be measured
        model.train(False)
        for tensor in trainable.values():
            tensor.requires_grad_(False)
    return own


def measure(run: StepRun) -> None:
    """Measure the subnet as it was and as it is, and leave the model.

    Raises:
        InputError: the super-network, the rows or what was learnt cannot be used.
        StepStoppedError: the run must stop.
    """
    chosen = _chosen(run)
    supernet = read_supernet(chosen.supernet)
    subnet = supernet.space.subnet(chosen.said.subnet)
    conditions = chosen.said.conditions
    examples = read_examples(chosen.rows, load_tokenizer(supernet), supernet, conditions)
    found = {} if run.saved is None else _read_metrics(run.saved)
    if "before" not in found:
        before = extract(supernet, subnet).supernet
        found["before"] = _metrics(run, before, subnet, examples, conditions)
        _advance(run, 1, found)
    if "after" not in found:
        after = _learnt(run, chosen, subnet)
        found["after"] = _metrics(run, after, subnet, examples, conditions)
        _advance(run, 2, found)
    card = _card(chosen, len(run.data.rows), found)
    # Read anew: what is measured is moved to the device and to the search's precision.
    write_transformers_folder(_learnt(run, chosen, subnet), subnet, card, run.output)
    _write_metrics(found, run.output)
    _advance(run, 3, found)


def _chosen(run: StepRun) -> Chosen:
    if run.chosen is None:
        raise InputError(
            "this recipe trains a subnet of a search on, and none is named",
            field="recipe",
            value="finetune",
            remedy="POST /v1/searches/{id}/subnets/{number}/finetune, or 'elasticnas finetune'",
        )
    return run.chosen


def extracted(settings: FinetuneSettings, supernet: Supernet, subnet: SubnetConfig) -> Extracted:
    """What is trained of the subnet, as the super-network has it.

    Raises:
        InputError: adapters are asked for, and there are none.
    """
    if settings.trained is Trained.ALL:
        return extract(supernet, subnet)
    if not supernet.adapters:
        raise InputError(
            "the super-network has no adapters",
            field="settings/trained",
            value=settings.trained.value,
            remedy=f"train {Trained.ALL} weights",
        )
    return extract_adapters(supernet, subnet)


def _keep_zeros(tensors: Mapping[str, torch.Tensor]) -> None:
    """Take the gradients off the zeros of sparse matrices."""
    for tensor in tensors.values():
        kept = tensor.detach() != 0
        if tensor.ndim == 2 and float(kept.float().mean()) <= 1 - SPARSE and bool(kept.any()):
            tensor.register_hook(lambda gradient, kept=kept: gradient * kept)  # type: ignore[no-untyped-call]


def _learnt(run: StepRun, chosen: Chosen, subnet: SubnetConfig) -> Supernet:
    """The subnet as it was learnt, on the CPU, as it is exported: adapters merged."""
    own = extracted(run.settings, read_supernet(chosen.supernet), subnet)
    with torch.no_grad():
        for name, tensor in load_file(run.source / TENSORS_FILE).items():
            own.tensors[name].copy_(tensor)
    return own.merged(subnet)


def _metrics(
    run: StepRun,
    own: Supernet,
    subnet: SubnetConfig,
    examples: Examples,
    conditions: Conditions,
) -> dict[str, float]:
    """What the subnet measures as the search measures; ``own`` is moved to the device for it."""
    task = TASKS[conditions.task]
    there = own.to(run.device, getattr(torch, conditions.precision))
    found = measured_on(
        there,
        subnet,
        laps_of(examples, None, there, token_budget=TOKENS),
        examples.labels,
        task,
        settings=validated(task.settings_type, conditions.settings),
    )
    assert found.metrics is not None  # it is in no race
    return found.metrics


def _advance(run: StepRun, done: int, found: Metrics) -> None:
    """So much of it is done: measured before, measured after, and written."""
    told = {f"{name}{BEFORE}": value for name, value in found["before"].items()}
    told |= found.get("after", {})
    run.advance(done, 3, told, save=partial(_write_metrics, found), save_every=1)


def _card(chosen: Chosen, rows: int, found: Metrics) -> SubnetCard:
    said = chosen.said
    finetuned = FinetunedCard(
        dataset_name=said.rows_name, dataset_rows=rows, before=found["before"]
    )
    precision = said.conditions.precision
    update = {"metrics": found["after"], "finetuned": finetuned, "precision": precision}
    return said.card.model_copy(update=update)


def _read_metrics(folder: Path) -> Metrics:
    found: Metrics = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    return found


def _write_metrics(found: Metrics, folder: Path) -> None:
    (folder / METRICS_FILE).write_text(json.dumps(found, indent=2), encoding="utf-8")
