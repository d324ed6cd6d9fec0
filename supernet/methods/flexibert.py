"""A heterogeneous super-network of a BERT: its layers choose their operation, width and depth.

The space is FlexiBERT's (Tuli, Dedhia, Tuli, Jha 2022, "FlexiBERT: Are Current Transformer
Architectures too Homogeneous and Rigid?", section 3); sharing one set of weights among its models
is not: FlexiBERT trains each alone. `teacher` fine-tunes the model by itself; `widen` adds the
weights of the other operations to it, which computes what it did; in `train` the maximal subnet
teaches others (Hinton et al. 2015), drawn by `operations.students`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from elasticnas.api_schemas.flexibert_training import FlexiBertSettings
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.training import OptimiserSettings
from elasticnas.supernet.checkpoint.base_model import BaseModel
from elasticnas.supernet.checkpoint.model_folder import write_model
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.checkpoint.tokenizer import copy_tokenizer
from elasticnas.supernet.families.bert import BERT
from elasticnas.supernet.families.family import HeadKind
from elasticnas.supernet.families.flexibert import FLEXIBERT
from elasticnas.supernet.formats.elasticnas import elastic_part
from elasticnas.supernet.formats.space_file import SPACE_FILE, SpaceFile, parse_space
from elasticnas.supernet.methods.pretrained import fine_tuned, pretrained, training_rows
from elasticnas.supernet.methods.step import StepRun
from elasticnas.supernet.operations.config import FURTHER, FlexiBertConfig
from elasticnas.supernet.operations.default_space import heterogeneous_space
from elasticnas.supernet.operations.energies import input_energies, reordered
from elasticnas.supernet.operations.model import FlexiBertForSequenceClassification
from elasticnas.supernet.operations.students import students
from elasticnas.supernet.operations.warming import as_chosen, fitted, warm
from elasticnas.supernet.plan import ModelShape
from elasticnas.supernet.supernet import Supernet, moved, named_tensors, with_own_weights
from elasticnas.supernet.training.calibration import calibration_groups
from elasticnas.supernet.training.distillation import Distillation
from elasticnas.supernet.training.hidden_states import comparable, distance, showing
from elasticnas.supernet.training.loop import batch_rows, fit_model, optimise
from elasticnas.supernet.training.rows import TrainingRows

WARMED_FILE = "warmed.safetensors"
TOKENS = 2048
"""So many tokens at most are in a batch of the calibration."""

WORDS = "bert.embeddings.word_embeddings.weight"
"""The table of words, which stays as it is once the model has been fine-tuned."""

_NEW = (".operations.", *(f".{name}." for name in FURTHER), ".join.")
"""Parts of the names of weights that the model did not bring."""


def teacher(run: StepRun) -> None:
    """Leave the model fine-tuned; or as it is, with a new classifier unless it keeps its own.

    Raises:
        InputError: the model is no BERT, or a row or a setting cannot be used.
        StepStoppedError: the run must stop.
    """
    settings: FlexiBertSettings = run.settings
    torch.manual_seed(settings.seed)
    base = _base(run)
    rows = training_rows(run.source, run.data, settings, base)
    if not settings.fine_tunes:
        run.advance(1, 1, {}, save=lambda _: None, save_every=1)
        write_model(base.model, run.source, run.output)
        return
    own = {
        "steps": None,
        "epochs": settings.teacher_epochs,
        "learning_rate": settings.teacher_learning_rate,
    }
    same = {name: getattr(settings, name) for name in OptimiserSettings.model_fields}
    how = OptimiserSettings.model_validate(same | own)
    write_model(fit_model(run, base, rows, how), run.source, run.output)


def widen(run: StepRun) -> None:
    """Leave the model with the weights of all operations, and a search space: a checkpoint.

    Raises:
        InputError: a setting cannot be used.
        StepStoppedError: the run must stop.
    """
    settings: FlexiBertSettings = run.settings
    torch.manual_seed(settings.seed)
    base = fine_tuned(run.source, run.data)
    rows = training_rows(run.source, run.data, settings, base)
    groups = calibration_groups(
        rows.lengths, settings.calibration_rows, settings.seed, tokens=TOKENS, most=64
    )
    batches = [_inputs(rows, group, run.device) for group in groups]
    moved(base.model, run.device, torch.float32)
    energies = input_energies(base.model, base.family, batches)
    moved(base.model, torch.device("cpu"), torch.float32)
    model = widened(base, energies, settings)
    space = _space(settings, model)
    shape = _shape(model)
    elastic_part(space, shape).plan.validate(elastic_part(space, shape).space, shape.shapes)
    moved(model, run.device, torch.float32)
    _warm_layers(run, model, batches)
    moved(model, torch.device("cpu"), torch.float32)
    _write(run, model, space)


def _base(run: StepRun) -> BaseModel:
    settings: FlexiBertSettings = run.settings
    if run.data.task.head is not HeadKind.CLASSIFIER:
        raise InputError(
            "a heterogeneous super-network is a classifier or a regression",
            field="task",
            value=run.data.task.name,
        )
    base = (fine_tuned if settings.keep_head else pretrained)(run.source, run.data)
    if base.family is not BERT:
        raise InputError(
            "a heterogeneous super-network is made of a BERT",
            field="base/config.json/model_type",
            value=base.family.model_type,
            remedy=f"begin with a model of type {BERT.model_type}",
        )
    moved(base.model, torch.device("cpu"), torch.float32)
    return base


def widened(
    base: BaseModel, energies: dict[str, torch.Tensor], settings: FlexiBertSettings
) -> FlexiBertForSequenceClassification:
    """The same function with more weights: those of the other ``operations``, and of stacks.

    Every layer may have further feed-forward layers of half its neurons, which start as the
    identity, and a projection where the layer before it has another width, which does too.
    """
    told = base.model.config.to_dict()
    options = {n: told[n] for n in told if n not in ("model_type", "architectures", "dtype")}
    size = base.family.ffn_size(base.model.config)
    layers = [
        {
            "operations": list(settings.operations),
            **dict.fromkeys(FURTHER[: settings.ffn_layers - 1], size // 2),
            "reads": base.model.config.hidden_size if place and not settings.one_hidden else None,
        }
        for place in range(base.family.num_layers(base.model.config))
    ]
    model = FlexiBertForSequenceClassification(FlexiBertConfig(**options, layers=layers))
    model.load_state_dict(reordered(base.model, base.family, energies), strict=False)
    with torch.no_grad():
        for name, module in model.named_modules():
            if name.endswith((".join", *(f".{each}.dense" for each in FURTHER))):
                torch.nn.init.eye_(module.weight)
                torch.nn.init.zeros_(module.bias)
    model.train(False).requires_grad_(False)
    return model


def _space(settings: FlexiBertSettings, model: FlexiBertForSequenceClassification) -> SpaceFile:
    if settings.space is not None:
        return parse_space(settings.space, field="space")
    return heterogeneous_space(model.config.layers, one_hidden=settings.one_hidden).model_copy(
        update={"reference_length": settings.max_length}
    )


def _shape(model: FlexiBertForSequenceClassification) -> ModelShape:
    return ModelShape.of(FLEXIBERT, model.config, named_tensors(model, {}))


def _inputs(rows: TrainingRows, group: list[int], device: torch.device) -> dict[str, torch.Tensor]:
    inputs = rows.inputs(group)
    ids = inputs["input_ids"]
    mask = inputs.get("attention_mask")
    mask = torch.ones_like(ids) if mask is None else mask
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def _warm_layers(
    run: StepRun,
    model: FlexiBertForSequenceClassification,
    inputs: list[dict[str, torch.Tensor]],
) -> None:
    settings: FlexiBertSettings = run.settings
    done = {} if run.saved is None else load_file(run.saved / WARMED_FILE)
    first = int(done.pop("layers", torch.tensor(0)))
    model.load_state_dict(done, strict=False)
    masks = [batch["attention_mask"].flatten(1).bool() for batch in inputs]
    with torch.no_grad():
        states = [model.bert.embeddings(input_ids=batch["input_ids"]) for batch in inputs]
    layers = list(model.bert.encoder.layer)
    own = dict.fromkeys(fitted(layers[0]), states)
    for place, layer in enumerate(layers):
        if place >= first:
            warm(layer, states, own, masks, steps=settings.warm_steps, seed=settings.seed + place)
            run.advance(
                place + 1,
                len(layers),
                {},
                save=partial(_save, model, place + 1),
                save_every=1,
            )
        states = _behind(as_chosen(layer), states, masks)
        own = {name: _behind(as_chosen(layer, name), each, masks) for name, each in own.items()}


@torch.no_grad()
def _behind(
    layer: torch.nn.Module, states: Sequence[torch.Tensor], masks: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    return [layer(hidden, is_token) for hidden, is_token in zip(states, masks, strict=True)]


def _save(model: FlexiBertForSequenceClassification, layers: int, folder: Path) -> None:
    warmed = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if ".operations." in name
    }
    save_file({**warmed, "layers": torch.tensor(layers)}, folder / WARMED_FILE)


def _write(run: StepRun, model: FlexiBertForSequenceClassification, space: SpaceFile) -> None:
    base = _write_weights(run, model, tokenizer=run.source)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(base)
    text = space.model_dump_json(indent=2, exclude_defaults=True)
    (run.output / SPACE_FILE).write_text(text, encoding="utf-8")


def train(run: StepRun) -> None:
    """Train a heterogeneous super-network: the maximal subnet, and its students.

    Raises:
        InputError: rows that are too long.
        StepStoppedError: the run must stop.
    """
    settings: FlexiBertSettings = run.settings
    supernet = read_supernet(run.source).to(run.device, torch.float32)
    model, base = supernet.model, supernet.base_folder
    trainable: dict[str, torch.Tensor] = dict(with_own_weights(model).named_parameters())
    unlearnt = _NEW if settings.fine_tunes else (*_NEW, "classifier.")
    if settings.fine_tunes:
        # Half of all weights, of which a batch reads few: their gradients would cost more than
        # they teach a model that is fine-tuned already.
        trainable.pop(WORDS).requires_grad_(False)
    described = BaseModel(supernet.family, model, supernet.task_head, supernet.label_names)
    rows = training_rows(base, run.data, settings, described)
    others = fitted(model.get_submodule("bert.encoder.layer.0"))

    def learn(step: int) -> float:
        batch = batch_rows(rows.lengths, settings, step)
        active, known = showing(supernet, supernet.space.maximal)
        logits = rows.logits(active, batch, run.device)
        loss = rows.loss_of(logits, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        taught, known = logits.detach(), [each.detach() for each in known]
        lesson = Distillation(rows, lambda _: taught, settings.distillation, run.device)
        for subnet in students(supernet.space, settings, step, others):
            student, states = showing(supernet, subnet)
            learnt = lesson.loss(rows.logits(student, batch, run.device), taught, batch)
            if settings.hidden_weight and comparable(states, known):
                is_token = _inputs(rows, batch, run.device)["attention_mask"].flatten(1).bool()
                learnt = learnt + settings.hidden_weight * distance(states, known, is_token)
            learnt.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    model.train(settings.dropout)
    new = settings.new_learning_rate / settings.learning_rate
    optimise(
        run,
        settings,
        len(rows.lengths),
        trainable,
        learn,
        rates=lambda name: new if any(part in name for part in unlearnt) else 1.0,
    )
    _write_trained(run, supernet)


def _write_trained(run: StepRun, supernet: Supernet) -> None:
    base = _write_weights(run, supernet.model, tokenizer=supernet.base_folder)
    shutil.copy(supernet.base_folder / "config.json", base)
    (run.output / SPACE_FILE).write_bytes((run.source / SPACE_FILE).read_bytes())


def _write_weights(run: StepRun, model: PreTrainedModel, *, tokenizer: Path) -> Path:
    """Begin ``base/`` with the weights of a model and the tokenizer of a folder; where it is."""
    base = run.output / "base"
    base.mkdir()
    copy_tokenizer(tokenizer, base)
    state = {n: t.detach().cpu().contiguous() for n, t in model.state_dict().items()}
    save_file(state, base / "model.safetensors", metadata={"format": "pt"})
    return base
