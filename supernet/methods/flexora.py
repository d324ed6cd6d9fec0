"""Flexora: selecting the adapters that deserve to be kept, and fine-tuning these.

Wei, Shu, He, Yu 2024, "Flexora: Flexible Low-Rank Adaptation for Large Language Models". `select`
learns a gate for every layer (or module) from rows that its adapter does not learn from, in several
repeats; `finetune` trains those adapters that are selected. What is not the paper's: the phantom
(`selection.gates`), repeats, and gates of modules. What is otherwise than in the released code: a
gate scales its adapter once, and AdamW keeps its moments from step to step.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from elasticnas.api_schemas.flexora_training import (
    FineTuned,
    FlexoraSettings,
    Groups,
    Head,
    Order,
    StartFrom,
)
from elasticnas.api_schemas.layer_selection import SelectionReport
from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.checkpoint.base_model import BaseModel
from elasticnas.supernet.checkpoint.writer import write_supernet
from elasticnas.supernet.default_space import adapter_space
from elasticnas.supernet.families.family import Family, HeadKind, Role
from elasticnas.supernet.methods.lonas import Adaptation, new_supernet, trainable_tensors
from elasticnas.supernet.methods.pretrained import fine_tuned, pretrained, training_rows
from elasticnas.supernet.methods.step import StepRun
from elasticnas.supernet.plan import LORA_A, LORA_B
from elasticnas.supernet.selection.alternation import Alternation, Told
from elasticnas.supernet.selection.gated_loss import GatedLoss
from elasticnas.supernet.selection.gates import first_alphas, gate_optimiser
from elasticnas.supernet.selection.groups import Group, groups_of
from elasticnas.supernet.selection.hypergradient import OUTER_SCALE, Problem
from elasticnas.supernet.selection.left_out import Effects, effects
from elasticnas.supernet.selection.optimiser import Adam, Tensors
from elasticnas.supernet.selection.report import Outcome, report_of
from elasticnas.supernet.selection.splits import Batches, Split, split_rows
from elasticnas.supernet.training.loop import fit, seed_of
from elasticnas.supernet.training.rows import TrainingRows

BASE = "base"
REPORT_FILE = "selection.json"
COURSE_FILE = "alphas.csv"
ROWS_FILE = "rows.json"
ADAPTERS_FILE = "adapters.safetensors"
STATE_FILE = "selection_state.pt"
PHANTOM = "phantom"
EFFECT_ROWS = 1024
"""On so many of the outer rows, at most, groups are left out."""


def flexora_roles(family: Family) -> Sequence[Role]:
    """Query and value; where they are one layer with the key, that."""
    split = [role for role in (Role.QUERY, Role.VALUE) if role in family.linears]
    return split or (Role.QKV,)


@dataclass
class Progress:
    """What a selection goes on from: finished repeats, the best adapters, and the one in hand.

    ``course`` holds a line for every turn: repeat, turn and alphas.
    """

    outcomes: list[Outcome]
    course: list[list[float]]
    best: tuple[float, dict[str, torch.Tensor]] | None = None
    turns: int = 0
    alternation: dict[str, Any] | None = None

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        state = {
            "outcomes": [each.as_dict() for each in self.outcomes],
            "course": self.course,
            "best": self.best,
            "turns": self.turns,
            "alternation": self.alternation,
        }
        content = io.BytesIO()  # torch's own writing to a file does not say why it failed
        torch.save(state, content)
        (folder / STATE_FILE).write_bytes(content.getbuffer())

    @classmethod
    def read(cls, folder: Path | None, device: torch.device) -> Progress:
        """What was saved; at the beginning, nothing is done."""
        if folder is None:
            return cls([], [])
        state = torch.load(folder / STATE_FILE, map_location=device, weights_only=True)
        return cls(**state | {"outcomes": [Outcome.of_dict(each) for each in state["outcomes"]]})


@dataclass(frozen=True)
class Repeat:
    """One selection: its model with fresh adapters, and its rows."""

    number: int
    settings: FlexoraSettings
    loss: GatedLoss
    split: Split
    alternation: Alternation

    @property
    def groups(self) -> tuple[Group, ...]:
        """Those that have a gate, besides the phantom."""
        return self.loss.groups

    def turn(self, number: int) -> Told:
        """The turn of this number."""
        settings, seed = self.settings, seed_of(self.settings.seed, self.number)
        steps = settings.inner_steps
        inner = Batches(self.split.inner, settings.select_batch_size, seed)
        outer = Batches(self.split.outer, settings.outer_batch_size, seed_of(seed, 1))
        batches = [inner.at(number * steps + step) for step in range(steps)]
        return self.alternation.turn(batches, outer.at(number))

    def effects(self) -> Effects:
        """What leaving each group out does to the outer loss, now."""
        rows = list(dict.fromkeys(self.split.outer))[:EFFECT_ROWS]
        return effects(
            self.loss,
            self.alternation.theta,
            self.alternation.gates,
            rows,
            self.settings.outer_batch_size,
        )


def select(run: StepRun) -> None:
    """Learn the gates; leave the report, their course, the rows, adapters, and the base.

    Raises:
        InputError: the model, a row or a setting cannot be used.
        StepStoppedError: the run must stop.
    """
    settings: FlexoraSettings = run.settings
    done = Progress.read(run.saved, run.device)
    rows = training_rows(run.source, run.data, settings, _base(run, run.source))
    repeats = range(settings.repeats)
    splits = [_split(settings, number, len(rows.lengths)) for number in repeats]
    groups: tuple[Group, ...] = ()
    for number in repeats[len(done.outcomes) :]:
        groups = _take_turns(run, done, _repeat(run, number, rows, splits[number]))
    _leave(run, done, groups, splits)


def _take_turns(run: StepRun, done: Progress, repeat: Repeat) -> tuple[Group, ...]:
    """The turns that a repeat has left; its groups, for the model is not to outlive its turns."""
    settings: FlexoraSettings = run.settings
    if done.alternation is not None:
        repeat.alternation.restore(done.alternation)
    for turn in range(done.turns, settings.select_steps):
        told = repeat.turn(turn)
        _note(done, repeat, turn)
        run.advance(
            repeat.number * settings.select_steps + turn + 1,
            settings.repeats * settings.select_steps,
            _scalars(repeat, told),
            save=done.save,
            save_every=settings.save_every,
        )
    return repeat.groups


def _note(done: Progress, repeat: Repeat, turn: int) -> None:
    """Take down a turn, and behind its last one what the repeat has found."""
    alternation, settings = repeat.alternation, repeat.settings
    done.course.append([repeat.number, turn + 1, *alternation.alphas.tolist()])
    done.turns, done.alternation = turn + 1, alternation.state()
    if done.turns < settings.select_steps:
        return
    found = Outcome(alternation.alphas.tolist(), repeat.effects())
    if done.best is None or found.effects.outer_loss < done.best[0]:
        done.best = (found.effects.outer_loss, gated(repeat))
    done.outcomes.append(found)
    done.turns, done.alternation = 0, None


def gated(repeat: Repeat) -> dict[str, torch.Tensor]:
    """The adapters and the head that a repeat has learnt, each B with its gate in it."""
    theta, gates = dict(repeat.alternation.theta), repeat.alternation.gates
    for group, gate in zip(repeat.groups, gates, strict=True):
        for module in group.modules:
            theta[f"{module}.{LORA_B}"] = theta[f"{module}.{LORA_B}"] * gate
    return theta


def _scalars(repeat: Repeat, told: Told) -> dict[str, float]:
    gates = repeat.alternation.gates.tolist()
    named = {f"gate.{group.name}": gate for group, gate in zip(repeat.groups, gates, strict=True)}
    if repeat.settings.has_phantom:
        named[f"gate.{PHANTOM}"] = len(gates) + 1 - sum(gates)
    return {"loss": told.inner_loss, "outer_loss": told.outer_loss, **named}


def _split(settings: FlexoraSettings, number: int, rows: int) -> Split:
    """The rows of a repeat."""
    return split_rows(settings, rows, seed_of(seed_of(settings.seed, number), 2))


def _repeat(run: StepRun, number: int, rows: TrainingRows, split: Split) -> Repeat:
    """A repeat before its first turn; all of it follows from the seed and its number."""
    settings: FlexoraSettings = run.settings
    seed = seed_of(settings.seed, number)
    torch.manual_seed(seed)
    base = _base(run, run.source)
    supernet = new_supernet(run, base, adaptation(settings))
    unrolled = settings.order is Order.UNROLLED
    loss = GatedLoss(supernet, groups_of(supernet), rows, run.device, twice=unrolled)
    phantom = settings.has_phantom
    problem = Problem(
        loss,
        Adam(settings.select_learning_rate, settings.weight_decay),
        unrolled=unrolled,
        phantom=phantom,
        outer_scale=OUTER_SCALE if phantom and not unrolled else 1.0,
    )
    theta = {n: each.detach().clone() for n, each in trainable_tensors(supernet).items()}
    alphas = first_alphas(len(loss.groups), phantom=phantom, device=run.device)
    return Repeat(
        number,
        settings,
        loss,
        split,
        Alternation(problem, theta, alphas, gate_optimiser(settings.gate_rate, phantom=phantom)),
    )


def adaptation(settings: FlexoraSettings) -> Adaptation:
    """What is adapted: a dimension for each group."""
    by_module = settings.groups is Groups.MODULE
    return Adaptation(flexora_roles, partial(adapter_space, by_module=by_module))


def _base(run: StepRun, source: Path) -> BaseModel:
    """The model with its head as the settings want it.

    ``new_tensors`` are those of the head that the adapters' file brings.
    """
    head: Head = run.settings.head
    if head is Head.NEW or run.data.task.head is HeadKind.CAUSAL_LM:
        return pretrained(source, run.data)
    base = fine_tuned(source, run.data)
    if head is Head.FROZEN:
        return base
    trained = tuple(f"{module}." for module in base.task_head.trained)
    names = (name for name, _ in base.model.named_parameters() if name.startswith(trained))
    return replace(base, new_tensors=tuple(names))


def _leave(run: StepRun, done: Progress, groups: Sequence[Group], splits: Sequence[Split]) -> None:
    settings: FlexoraSettings = run.settings
    assert done.best is not None
    theta = {name: each.contiguous().cpu() for name, each in done.best[1].items()}
    report = report_of(settings, groups, done.outcomes, splits[0], _sizes(theta, groups))
    text = report.model_dump_json(indent=2)
    (run.output / REPORT_FILE).write_text(text, encoding="utf-8")
    names = [*(group.name for group in groups), *([PHANTOM] if settings.has_phantom else [])]
    with (run.output / COURSE_FILE).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["repeat", "turn", *names], *done.course])
    rows = [{"inner": each.inner, "outer": each.outer} for each in splits]
    (run.output / ROWS_FILE).write_text(json.dumps(rows), encoding="utf-8")
    save_file(theta, run.output / ADAPTERS_FILE)
    shutil.copytree(run.source, run.output / BASE)


def _sizes(theta: Tensors, groups: Sequence[Group]) -> list[int]:
    """The numbers in the adapters of each group."""
    return [
        sum(theta[f"{module}.{part}"].numel() for module in group.modules for part in _PARTS)
        for group in groups
    ]


_PARTS = (LORA_A, LORA_B)


def finetune(run: StepRun) -> None:
    """Train the adapters that were selected, and leave a super-network of them.

    Raises:
        InputError: nothing was selected; or the model or a row cannot be used.
        StepStoppedError: the run must stop.
    """
    settings: FlexoraSettings = run.settings
    torch.manual_seed(settings.seed)
    report = read_report(run.source)
    source = run.source / BASE
    base = _base(run, source)
    supernet = new_supernet(run, base, adaptation(settings), _modules(settings, report))
    rows = training_rows(source, run.data, settings, base)
    trainable = trainable_tensors(supernet)
    if settings.start is StartFrom.SELECTION:
        _begin_with(load_file(run.source / ADAPTERS_FILE), trainable)
    fit(run, supernet, rows, trainable)
    write_supernet(supernet, source, run.output)


def read_report(folder: Path) -> SelectionReport:
    """What the step `select` found, of the folder that it left."""
    text = (folder / REPORT_FILE).read_text(encoding="utf-8")
    return SelectionReport.model_validate_json(text)


def _modules(settings: FlexoraSettings, report: SelectionReport) -> frozenset[str]:
    """The linear modules whose adapters are trained.

    Raises:
        InputError: none is.
    """
    if settings.finetuned is FineTuned.ALL:
        return frozenset(module for group in report.groups for module in group.modules)
    if not report.selected:
        raise InputError(
            "the selection keeps no adapter: none lowered the loss on the outer rows by enough, in "
            f"more than half of {report.repeats} repeats ({REPORT_FILE} of the step select)",
            field="rule",
            value=report.rule.value,
            remedy="train without adapters, or look whether training and outer rows are alike; "
            "rule=top keeps some in any case, and finetuned=all trains all",
        )
    return report.selected_modules


def _begin_with(learnt: Tensors, trainable: Tensors) -> None:
    with torch.no_grad():
        for name, tensor in trainable.items():
            tensor.copy_(learnt[name])
