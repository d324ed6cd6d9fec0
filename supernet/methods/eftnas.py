"""EFTNAS: a search space made for the model, and a super-network trained by its teacher.

Munoz, Zheng, Jain 2024, "EFTNAS: Searching for Efficient Language Models in First-Order
Weight-Reordered Super-Networks", section 3: the importance of heads and neurons gives the widths
for a few target costs; the units are put into order once; then the maximal, a random and the
minimal subnet learn every batch from the labels and from a teacher.

Each step leaves a folder with what the next ones need: ``teacher/`` and ``start/``, the weights to
begin with where those are not the teacher's; ``importance.safetensors``; ``search_space.json``, and
``targets.json`` with how it was found; ``base/`` in order, and ``orders.safetensors``. The last one
leaves the super-network alone.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from elasticnas.api_schemas.eftnas_training import EftnasSettings, StartFrom, TeacherFrom
from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.training import DeriveSettings, Importance, OptimiserSettings
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.base_model import BaseModel
from elasticnas.supernet.checkpoint.changed_copy import write_changed_copy
from elasticnas.supernet.checkpoint.model_folder import write_model
from elasticnas.supernet.elasticity.axes import Axis, Scores, axes_of, descending
from elasticnas.supernet.elasticity.derived_space import TOLERANCE, cost_shares, search_for
from elasticnas.supernet.elasticity.magnitude import magnitudes
from elasticnas.supernet.elasticity.movement import MovementScores
from elasticnas.supernet.elasticity.reorder import Reordering
from elasticnas.supernet.elasticity.target_costs import Bisection, Halving, TargetWidths
from elasticnas.supernet.elasticity.target_space import target_space
from elasticnas.supernet.formats.elasticnas import ELASTICNAS, elastic_part
from elasticnas.supernet.formats.space_file import SPACE_FILE, read_space
from elasticnas.supernet.forward.activation import ActiveSubnet, activate
from elasticnas.supernet.methods.derive import first_order
from elasticnas.supernet.methods.pretrained import fine_tuned, pretrained, training_rows
from elasticnas.supernet.methods.step import StepRun
from elasticnas.supernet.plan import ModelShape
from elasticnas.supernet.supernet import Supernet, moved, named_tensors, with_own_weights
from elasticnas.supernet.training.distillation import Distillation, Teacher, running
from elasticnas.supernet.training.loop import batch_rows, fit_model, optimise, random_subnet
from elasticnas.supernet.training.movement_sparsity import MovementSparsity, named, read_named
from elasticnas.supernet.training.rows import TrainingRows

TEACHER = "teacher"
START = "start"
IMPORTANCE_FILE = "importance.safetensors"
TARGETS_FILE = "targets.json"
ORDERS_FILE = "orders.safetensors"
CHECKED_BATCHES = 4
"""On so many batches the model in order is held against the model as it was."""
CLOSE = 1e-3
"""Logits of the two may differ by so much: sums in another order round otherwise."""


def teacher(run: StepRun) -> None:
    """Fine-tune the base, or take it as it is; leave the teacher, and where to start from.

    Raises:
        InputError: the base or a row cannot be used.
        StepStoppedError: the run must stop.
    """
    settings: EftnasSettings = run.settings
    torch.manual_seed(settings.seed)
    if settings.teacher is TeacherFrom.GIVEN:
        base = fine_tuned(run.source, run.data)
        _walk(run, base, training_rows(run.source, run.data, settings, base))
        shutil.copytree(run.source, run.output / TEACHER)
        return
    base = pretrained(run.source, run.data)
    if settings.start is StartFrom.PRETRAINED:
        write_model(base.model, run.source, run.output / START)
    rows = training_rows(run.source, run.data, settings, base)
    model = fit_model(run, base, rows, _of_teacher(settings))
    write_model(model, run.source, run.output / TEACHER)


def importance(run: StepRun) -> None:
    """Leave a score of every head and neuron, or of every block that movement sparsity knows.

    Raises:
        InputError: the model, a row or a setting cannot be used.
        StepStoppedError: the run must stop.
    """
    settings: EftnasSettings = run.settings
    if settings.importance == "movement":
        found = named(_movement(run))
    else:
        base = fine_tuned(run.source / TEACHER, run.data)
        scores = _first_order(run, base, settings.importance)
        found = {axis.dimension: score for axis, score in scores.items()}
    _pass_on(run, TEACHER, START)
    save_file(found, run.output / IMPORTANCE_FILE)


def space(run: StepRun) -> None:
    """Find the widths for every target, and leave the space of all of them.

    Raises:
        InputError: the model cannot be used.
        StepStoppedError: the run must stop.
    """
    settings: EftnasSettings = run.settings
    base = fine_tuned(_start(run.source), run.data)
    shape = base.shape
    search = _search(run.source, settings, base, shape)
    found = [] if run.saved is None else _read_targets(run.saved / TARGETS_FILE, axes_of(shape))
    for number, target in enumerate(settings.targets[len(found) :], len(found) + 1):
        found.append(search.find(target))
        run.advance(
            number,
            len(settings.targets),
            {"cost": found[-1].cost, "target": target},
            save=partial(_write_targets, found),
            save_every=settings.save_every,
        )
    content = target_space(shape, found, settings.max_length)
    elastic = elastic_part(content, shape)
    elastic.plan.validate(elastic.space, shape.shapes, has_halves=bool(base.family.halves))
    _pass_on(run, TEACHER, START, IMPORTANCE_FILE)
    _write_targets(found, run.output)
    text = content.model_dump_json(indent=2, exclude_defaults=True)
    (run.output / SPACE_FILE).write_text(text, encoding="utf-8")


def reorder(run: StepRun) -> None:
    """Put heads and neurons into order, and see that the full model computes what it did.

    Raises:
        InputError: the model cannot be used.
        StepStoppedError: the run must stop.
    """
    settings: EftnasSettings = run.settings
    source = _start(run.source)
    before = fine_tuned(source, run.data)
    shape = before.shape
    orders = descending(_scores(run.source, settings, shape))
    write_changed_copy(source, before.family, Reordering(shape, orders), _made(run.output / "base"))
    after = fine_tuned(run.output / "base", run.data)
    _compare(run, before, after)
    _pass_on(run, TEACHER, SPACE_FILE)
    saved = {axis.dimension: order for axis, order in orders.items()}
    save_file(saved, run.output / ORDERS_FILE)


def train(run: StepRun) -> None:
    """Train the super-network by the sandwich rule with distillation, and leave it alone.

    Raises:
        InputError: the model or a row cannot be used.
        StepStoppedError: the run must stop.
    """
    settings: EftnasSettings = run.settings
    taught_by = fine_tuned(run.source / TEACHER, run.data)
    rows = training_rows(run.source / TEACHER, run.data, settings, taught_by)
    model = moved(taught_by.model, run.device, torch.float32)
    active = ActiveSubnet(model, {}, taught_by.family)
    supernet = ordered(run)
    distil(run, supernet, rows, running(rows, active, run.device))
    write_model(supernet.model.cpu(), run.source / "base", run.output / "base")
    shutil.copy(run.source / SPACE_FILE, run.output / SPACE_FILE)


def ordered(run: StepRun) -> Supernet:
    """The super-network that the step `reorder` left, its weights ready to be trained.

    Raises:
        InputError: it cannot be used.
    """
    base = fine_tuned(run.source / "base", run.data)
    content = read_space(run.source / SPACE_FILE)
    elastic = elastic_part(content, base.shape)
    return Supernet(
        method=ELASTICNAS.name,
        family=base.family,
        model=_trainable(base, run.device),
        adapters={},
        space=elastic.space,
        plan=elastic.plan,
        reference_length=elastic.reference_length or run.settings.max_length,
        folder=run.source,
        label_names=run.data.label_names,
    )


def distil(run: StepRun, supernet: Supernet, rows: TrainingRows, taught_by: Teacher) -> None:
    """Train all weights: at every step the maximal, a random and the minimal subnet.

    The sandwich rule (Yu & Huang 2019, "Universally Slimmable Networks", section 3.1); gradients of
    the three are summed.

    Raises:
        StepStoppedError: the run must stop.
    """
    settings: EftnasSettings = run.settings
    distillation = Distillation(rows, taught_by, settings, run.device)

    def learn(step: int) -> float:
        students = (activate(supernet, each) for each in sandwich(supernet, settings.seed, step))
        return distillation.learn(students, batch_rows(rows.lengths, settings, step))

    supernet.model.train(settings.dropout)
    trainable: dict[str, torch.Tensor] = dict(supernet.model.named_parameters())
    optimise(run, settings, len(rows.lengths), trainable, learn)
    supernet.model.train(False)


def sandwich(supernet: Supernet, seed: int, step: int) -> tuple[SubnetConfig, ...]:
    """Who is trained at a step."""
    found = supernet.space
    return found.maximal, random_subnet(found, seed, step), found.minimal


def _movement(run: StepRun) -> MovementScores:
    """Learn the scores of the start model on the rows, from where the run was saved."""
    settings: EftnasSettings = run.settings
    source = _start(run.source)
    base = fine_tuned(source, run.data)
    rows = training_rows(source, run.data, settings, base)
    shape = base.shape
    epoch = _steps_of_an_epoch(settings, rows) * settings.movement_epochs / 6
    scores = MovementSparsity(shape, range(round(epoch), round(3 * epoch)), run.device)
    model = _trainable(base, run.device)
    tensors: dict[str, torch.Tensor] = dict(model.named_parameters())
    how = _optimiser(
        settings,
        steps=round(3 * epoch),
        learning_rate=settings.movement_learning_rate,
    )

    def learn(step: int) -> float:
        active = ActiveSubnet(model, scores.masked(tensors, step), base.family)
        loss = rows.loss(active, batch_rows(rows.lengths, how, step), run.device)
        (loss + scores.pull(step)).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    model.train(settings.dropout)
    optimise(
        run,
        how,
        len(rows.lengths),
        tensors | scores.parameters,
        learn,
        horizon=round(6 * epoch),
        kept={"lowest": scores.lowest},
    )
    return scores.found()


def _first_order(run: StepRun, base: BaseModel, kind: Importance) -> Scores:
    """The scores of a model's units, from where the run was saved."""
    settings: EftnasSettings = run.settings
    how = DeriveSettings(
        importance=kind,
        calibration_rows=settings.calibration_rows,
        batch_size=settings.batch_size,
        save_every=settings.save_every,
        **{name: getattr(settings, name) for name in _ROWS},
    )
    shape = base.shape
    if kind is Importance.MAGNITUDE:
        found = magnitudes(named_tensors(base.model, {}), shape)
        run.advance(1, 1, {}, save=_save_nothing, save_every=1)
        return found
    rows = training_rows(run.source / TEACHER, run.data, settings, base)
    return first_order(replace(run, settings=how), base, shape, rows).units


def _search(
    source: Path, settings: EftnasSettings, base: BaseModel, shape: ModelShape
) -> Bisection:
    """How the widths for a target are looked for."""
    tensors = load_file(source / IMPORTANCE_FILE)
    if settings.importance != "movement":
        scores = {axis: tensors[axis.dimension] for axis in axes_of(shape)}
        return search_for(shape, base.task_head, scores, settings.max_length)
    movement = read_named(tensors, axes_of(shape))
    cost = cost_shares(shape, base.task_head, settings.max_length)
    return Bisection(movement.widths, cost, axes_of(shape), TOLERANCE)


def _scores(source: Path, settings: EftnasSettings, shape: ModelShape) -> Scores:
    """What units are ordered by."""
    tensors = load_file(source / IMPORTANCE_FILE)
    if settings.importance == "movement":
        return read_named(tensors, axes_of(shape)).scores()
    return {axis: tensors[axis.dimension] for axis in axes_of(shape)}


def _compare(run: StepRun, before: BaseModel, after: BaseModel) -> None:
    """Hold the logits of two models against each other, on a few batches of the rows.

    Raises:
        InputError: they differ by more than rounding.
    """
    settings: EftnasSettings = run.settings
    rows = training_rows(run.source / TEACHER, run.data, settings, before)
    models = [
        ActiveSubnet(moved(base.model, run.device, torch.float32), {}, base.family)
        for base in (before, after)
    ]

    def look(batch: Sequence[int], largest: float) -> float:
        one, other = (rows.logits(model, batch, run.device) for model in models)
        return max(largest, float((one - other).abs().max() / one.abs().max().clamp(min=1.0)))

    largest = _on_batches(run, rows, "difference", look)
    if largest > CLOSE:
        raise InputError(
            "the model computes something else once its heads and neurons are in another order",
            field="base",
            value=largest,
            remedy="use a model of the stock architecture",
        )


_SEEN = "seen.safetensors"
_ROWS = ("max_length", "seed", "loss_on", "task_settings")
_LEARNING = ("batch_size", "warmup", "weight_decay", "max_gradient_norm", "dropout")
_PACE = ("group_by_length", "save_every")


def _save_nothing(folder: Path) -> None:
    """A step of one unit has nothing to go on from."""


def _save_seen(batches: int, found: float, folder: Path) -> None:
    seen = {
        "batches": torch.tensor(batches),
        "found": torch.tensor(found, dtype=torch.float64),
    }
    save_file(seen, folder / _SEEN)


def _walk(run: StepRun, base: BaseModel, rows: TrainingRows) -> None:
    """Tell of the loss of a given teacher on a few batches: what it is worth on these rows."""
    active = ActiveSubnet(moved(base.model, run.device, torch.float32), {}, base.family)
    _on_batches(run, rows, "loss", lambda batch, _: float(rows.loss(active, batch, run.device)))


def _on_batches(
    run: StepRun, rows: TrainingRows, name: str, look: Callable[[Sequence[int], float], float]
) -> float:
    """What `look` finds on a few batches, from where the run was saved; it is told as `name`.

    `look` gets the rows of a batch and what it found before.
    """
    settings: EftnasSettings = run.settings
    found, first = 0.0, 0
    if run.saved is not None:
        seen = load_file(run.saved / _SEEN)
        found, first = float(seen["found"]), int(seen["batches"])
    for number in range(first, CHECKED_BATCHES):
        with torch.inference_mode():
            found = look(batch_rows(rows.lengths, settings, number), found)
        run.advance(
            number + 1,
            CHECKED_BATCHES,
            {name: found},
            save=partial(_save_seen, number + 1, found),
            save_every=settings.save_every,
        )
    return found


def _of_teacher(settings: EftnasSettings) -> OptimiserSettings:
    return _optimiser(
        settings,
        epochs=settings.teacher_epochs,
        learning_rate=settings.teacher_learning_rate,
    )


def _optimiser(settings: EftnasSettings, **given: float) -> OptimiserSettings:
    """Those of a step before the last: a rate that falls linearly, all else as there."""
    same = {name: getattr(settings, name) for name in (*_ROWS, *_LEARNING, *_PACE)}
    return OptimiserSettings.model_validate(same | given)


def _steps_of_an_epoch(settings: EftnasSettings, rows: TrainingRows) -> int:
    return max(1, len(rows.lengths) // settings.batch_size)


def _trainable(base: BaseModel, device: torch.device) -> PreTrainedModel:
    """The model in float32 on the device, with weights of its own that have gradients."""
    return with_own_weights(moved(base.model, device, torch.float32))


def _start(source: Path) -> Path:
    """The weights to begin with, in what a step left."""
    start = source / START
    return start if start.is_dir() else source / TEACHER


def _pass_on(run: StepRun, *names: str) -> None:
    """Leave what the step before left, for those behind."""
    for name in names:
        if (entry := run.source / name).is_dir():
            shutil.copytree(entry, run.output / name)
        elif entry.is_file():
            shutil.copy(entry, run.output / name)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _write_targets(found: Sequence[TargetWidths], folder: Path) -> None:
    content = [
        {
            **{n: getattr(each, n) for n in ("target", "threshold", "cost", "message")},
            "widths": {axis.dimension: width for axis, width in each.widths.items()},
            "skipped": sorted(axis.dimension for axis in each.skipped),
            "steps": [asdict(step) for step in each.steps],
        }
        for each in found
    ]
    (folder / TARGETS_FILE).write_text(json.dumps(content, indent=2), encoding="utf-8")


def _read_targets(file: Path, units: Mapping[Axis, int]) -> list[TargetWidths]:
    axes = {axis.dimension: axis for axis in units}
    return [
        TargetWidths(
            **{name: each[name] for name in ("target", "threshold", "cost", "message")},
            widths={axes[name]: width for name, width in each["widths"].items()},
            skipped=frozenset(axes[name] for name in each["skipped"]),
            steps=tuple(Halving(**step) for step in each["steps"]),
        )
        for each in json.loads(file.read_text(encoding="utf-8"))
    ]
