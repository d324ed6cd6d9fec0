"""Which layers' adapters to keep: Flexora beside its neighbours, on one budget.

    python -m benchmarks.layer_selection MODEL TRAIN.jsonl VALIDATION.jsonl --text-column sentence
        --rows 2000 --kept 2 --select-steps 70 --steps 120 --seeds 0 1 2

Every method sees the same training rows, of which the outer ones are held out for those that want
them, and names the layers to keep. These are then trained from scratch on all training rows, with
the head, and measured on the validation rows, which nothing was chosen by. Seconds are of the
processor, for choosing alone; no method is given more than ``--select-steps`` turns or steps, and
unrolled turns are a third as many, for each costs three to four times as much.

- ``gradient norm``: of B where it is zero, on training rows.
- ``LoRA-drop`` (Zhou et al. 2024): the squared norm of what adapters give, after training all. Its
  sharing of one adapter among the layers that are dropped is left out: no stock adapter can.
- ``AdaLoRA`` (Zhang et al. 2023), PEFT's: the same total rank, spread as it decides while it
  trains, for as many steps as choosing and training take here. It is measured as it is.
- ``greedy``: layers added one at a time, by the outer loss after a short training of each.
- ``flexora`` and ``flexora unrolled``: the recipe's step `select`, its rule `top`.
- ``search``: adapters trained with random layers off, then 30 evaluations of ``pareto`` by the
  outer loss and trainable parameters.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import peft
import torch
from scipy.stats import t
from transformers import AutoModelForSequenceClassification

from benchmarks.supernet_search import run_search, search_loop
from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.flexora_training import FlexoraSettings, Order
from elasticnas.api_schemas.jobs import StepProgress
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.base_model import BaseModel
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.methods.flexora import adaptation, read_report, select
from elasticnas.supernet.methods.lonas import new_supernet, trainable_tensors
from elasticnas.supernet.methods.pretrained import pretrained, training_rows
from elasticnas.supernet.methods.step import StepRun, TrainingData
from elasticnas.supernet.plan import LORA_B
from elasticnas.supernet.selection.groups import groups_of
from elasticnas.supernet.selection.rules import largest
from elasticnas.supernet.selection.splits import Split, split_rows
from elasticnas.supernet.supernet import Supernet
from elasticnas.supernet.training.loop import batch_rows, fit
from elasticnas.supernet.training.rows import TrainingRows
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.tasks.rows import Rows

CPU = torch.device("cpu")
EVALUATIONS = 30
SCORING_BATCH = 64


@dataclass(frozen=True)
class Subject:
    """A model and rows, for one seed."""

    base: Path
    data: TrainingData
    settings: FlexoraSettings

    def run(self, output: Path, **changes: Any) -> StepRun:
        """A run of a step on these, with changed settings."""

        def tell(progress: StepProgress) -> None:
            del progress

        return StepRun(
            settings=self.settings.model_copy(update=changes),
            source=self.base,
            data=self.data,
            output=output,
            saved=None,
            device=CPU,
            tell=tell,
            keep=lambda _, __: None,
            must_stop=lambda: False,
        )

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


# -- the methods: each names the layers to keep ------------------------------------------------


@dataclass(frozen=True)
class Budget:
    """So many layers are kept, of so many; choosing takes so many steps."""

    kept: int
    layers: int
    steps: int


def at_random(subject: Subject, budget: Budget, draw: int) -> list[int]:
    """Any; several draws of a seed differ."""
    order = random.Random(f"{subject.settings.seed}/{draw}")
    return sorted(order.sample(range(budget.layers), budget.kept))


def by_gradient_norm(subject: Subject, budget: Budget) -> list[int]:
    """The norm of the gradient of B, where it is zero, on training rows."""
    inner = subject.inner
    run = inner.run(Path())
    supernet = new_supernet(run, inner.read(), adaptation(run.settings))
    rows, tensors = inner.rows, trainable_tensors(supernet)
    for step in range(budget.steps // 2):
        active = activate(supernet, supernet.space.maximal)
        rows.loss(active, batch_rows(rows.lengths, run.settings, step), CPU).backward()  # type: ignore[no-untyped-call]
    found = []
    for group in groups_of(supernet):
        norms = [tensors[f"{m}.{LORA_B}"].grad.norm() ** 2 for m in group.modules]  # type: ignore[union-attr]
        found.append(float(sum(norms)))
    return sorted(largest(found, budget.kept))


def by_lora_drop(subject: Subject, budget: Budget) -> list[int]:
    """The squared norm of what each layer's adapters give, after training all."""
    inner = subject.inner
    supernet = trained(inner, range(budget.layers), budget.steps)
    rows, groups = inner.rows, groups_of(supernet)
    sums = dict.fromkeys(supernet.adapters, 0.0)
    logits = logits_of(supernet, inner)
    with torch.inference_mode(), _watching(supernet, sums):
        for at in range(0, min(len(rows.lengths), 512), SCORING_BATCH):
            logits(range(at, min(at + SCORING_BATCH, len(rows.lengths))))
    given = [sum(sums[module] for module in group.modules) for group in groups]
    return sorted(largest(given, budget.kept))


@contextmanager
def _watching(supernet: Supernet, sums: dict[str, float]) -> Iterator[None]:
    """Add up the squared norms of what adapters give for whatever runs in the block."""

    def hook(module: str) -> Callable[..., None]:
        adapter = supernet.adapters[module]

        def see(_: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            sums[module] += float((given[0] @ adapter.a.T @ adapter.b.T).square().sum())

        return see

    handles = [
        supernet.model.get_submodule(module).register_forward_pre_hook(hook(module))
        for module in supernet.adapters
    ]
    try:
        yield
    finally:
        for each in handles:
            each.remove()


def by_greedy_forward(subject: Subject, budget: Budget) -> list[int]:
    """One layer more at a time, the one of the lowest outer loss after a short training."""
    trials = sum(budget.layers - done for done in range(budget.kept))
    kept: list[int] = []
    for _ in range(budget.kept):
        losses = {}
        for layer in sorted(set(range(budget.layers)) - set(kept)):
            steps = max(1, budget.steps * 2 // trials)
            tried = trained(subject.inner, sorted([*kept, layer]), steps)
            losses[layer] = scored(logits_of(tried, subject), subject, subject.split.outer).loss
        kept.append(min(losses, key=lambda layer: losses[layer]))
    return sorted(kept)


def by_flexora(subject: Subject, budget: Budget, order: Order = Order.FIRST) -> list[int]:
    """The largest alphas."""
    steps = budget.steps if order is Order.FIRST else max(1, budget.steps // 3)
    return _flexora(subject, budget, order, steps)[: budget.kept]


def lowest_by_flexora(subject: Subject, budget: Budget) -> list[int]:
    """The smallest alphas."""
    return _flexora(subject, budget, Order.FIRST, budget.steps)[-budget.kept :]


def _flexora(subject: Subject, budget: Budget, order: Order, steps: int) -> list[int]:
    """The layers by falling alpha; the best and the worst are of one selection."""
    key = (subject.settings.seed, order, steps)
    if key not in _SELECTED:
        _SELECTED[key] = _by_alpha(subject, budget, order, steps)
    return _SELECTED[key]


_SELECTED: dict[tuple[int, Order, int], list[int]] = {}


def _by_alpha(subject: Subject, budget: Budget, order: Order, steps: int) -> list[int]:
    with tempfile.TemporaryDirectory() as folder:
        run = subject.run(Path(folder), order=order, select_steps=steps)
        select(run)
        groups = read_report(Path(folder)).groups
    return sorted(range(budget.layers), key=lambda at: -groups[at].alpha)


def by_search(subject: Subject, budget: Budget) -> list[int]:
    """The best subnet with so many layers on, of a search of adapters trained to be off."""
    supernet = trained(subject.inner, range(budget.layers), budget.steps, sampling="random")

    def measure(subnet: SubnetConfig) -> float:
        return scored(logits_of(supernet, subject, subnet), subject, subject.split.outer).loss

    found = {
        tuple(at for at, rank in enumerate(subnet.values()) if rank): loss
        for subnet, loss in searched(supernet, measure, subject.settings.seed).items()
    }
    allowed = [layers for layers in found if len(layers) <= budget.kept]
    size = max(map(len, allowed))
    return list(min((found[each], each) for each in allowed if len(each) == size)[1])


def searched(
    supernet: Supernet, measure: Callable[[SubnetConfig], float], seed: int
) -> dict[SubnetConfig, float]:
    """The losses of the subnets that ``pareto`` evaluates, by loss and trainable parameters.

    A loss is told as the mean likelihood that it stands for, which has the range of an accuracy.
    """
    loop = search_loop(
        supernet.space,
        cost_model(supernet),
        "accuracy",
        Cost.TRAINABLE_PARAMS,
        rows=1000,
        max_length=supernet.reference_length,
        seed=seed,
        budget={"evaluations": EVALUATIONS},
    )
    found: dict[SubnetConfig, float] = {}

    def evaluate(subnet: SubnetConfig) -> dict[str, float]:
        found[subnet] = measure(subnet)
        return {"accuracy": math.exp(-found[subnet])}

    run_search(loop, evaluate)
    return found


def adalora(subject: Subject, budget: Budget, steps: int, validation: Subject) -> Score:
    """PEFT's AdaLoRA, trained and measured; it chooses ranks while it trains."""
    settings, total = subject.settings, budget.steps + steps
    torch.manual_seed(settings.seed)
    stock = AutoModelForSequenceClassification.from_pretrained(subject.base, num_labels=2)
    rank = max(1, round(settings.lora_rank * budget.kept / budget.layers))
    config = peft.AdaLoraConfig(
        task_type="SEQ_CLS",
        target_modules=["query", "value"],
        init_r=settings.lora_rank,
        target_r=rank,
        lora_alpha=round(settings.lora_alpha),
        tinit=total // 6,
        tfinal=total // 3,
        deltaT=5,
        total_step=total,
    )
    model: Any = peft.get_peft_model(stock, config)
    learnt = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=settings.learning_rate, weight_decay=0.0)
    rows = subject.rows
    for step in range(total):
        batch = batch_rows(rows.lengths, settings, step)
        optimizer.param_groups[0]["lr"] = settings.learning_rate * (1 - step / total)
        model.train(settings.dropout)
        model(**rows.inputs(batch), labels=subject.labels[batch]).loss.backward()
        optimizer.step()
        model.base_model.update_and_allocate(step)
        optimizer.zero_grad()
    model.eval()
    return scored(lambda batch: model(**validation.rows.inputs(batch)).logits, validation)


# -- the table ---------------------------------------------------------------------------------

METHODS: Mapping[str, Callable[[Subject, Budget], list[int]]] = {
    "all": lambda _, budget: list(range(budget.layers)),
    "none": lambda _, __: [],
    "random 1": lambda subject, budget: at_random(subject, budget, 1),
    "random 2": lambda subject, budget: at_random(subject, budget, 2),
    "random 3": lambda subject, budget: at_random(subject, budget, 3),
    "gradient norm": by_gradient_norm,
    "LoRA-drop": by_lora_drop,
    "greedy": by_greedy_forward,
    "flexora": by_flexora,
    "flexora unrolled": lambda subject, budget: by_flexora(subject, budget, Order.UNROLLED),
    "flexora, lowest": lowest_by_flexora,
    "search": by_search,
}


@dataclass(frozen=True)
class Line:
    """What a method kept and came to in one seed."""

    kept: Sequence[int] | None
    score: Score
    seconds: float


def measured(name: str, subject: Subject, budget: Budget, steps: int, validation: Subject) -> Line:
    """Choose by a method, train, and measure."""
    started = time.process_time()
    if name == "AdaLoRA":
        score = adalora(subject, budget, steps, validation)
        return Line(None, score, time.process_time() - started)
    kept = METHODS[name](subject, budget)
    spent = time.process_time() - started
    supernet = trained(subject, kept, steps)
    return Line(kept, scored(logits_of(supernet, validation), validation), spent)


def read_data(file: Path, column: str, rows: int | None, seed: int) -> TrainingData:
    """Rows of a JSON Lines file: so many, drawn by the seed, or all."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    if rows is not None:
        lines = random.Random(seed).sample(lines, rows)
    labels = np.array([line["label"] for line in lines])
    return TrainingData(
        Rows({"text": [line[column] for line in lines]}, labels), TEXT_CLASSIFICATION, 2
    )


def interval(values: Sequence[float]) -> str:
    """The mean over seeds, and the half width of its 95 % interval by Student's t."""
    if len(values) == 1:
        return f"{values[0]:.4f}"
    half = t.ppf(0.975, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return f"{fmean(values):.4f} +- {half:.4f}"


def main() -> None:
    """Print a line for each method and seed, then their means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--kept", type=int, default=2)
    parser.add_argument("--select-steps", type=int, default=70)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=[*METHODS, "AdaLoRA"])
    parser.add_argument("--settings", default="{}", help="JSON, over those of the recipe")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[Line]] = {name: [] for name in options.methods}
    for seed in options.seeds:
        given = {"max_length": 64, "batch_size": 16, "repeats": 1, "seed": seed}
        settings = FlexoraSettings.model_validate({**given, **json.loads(options.settings)})
        rows = read_data(options.train, options.text_column, options.rows, seed)
        subject = Subject(options.model, rows, settings)
        validation = replace(
            subject, data=read_data(options.validation, options.text_column, None, seed)
        )
        base = subject.read()
        layers = base.family.num_layers(base.model.config)
        budget = Budget(options.kept, layers, options.select_steps)
        for name in options.methods:
            line = measured(name, subject, budget, options.steps, validation)
            found[name].append(line)
            told = f"{line.score.loss:.4f} {line.score.accuracy:.4f}"
            print(f"{seed} {name}: {line.kept} {told} {line.seconds:.0f} s", flush=True)
    print("method | loss | accuracy | seconds of choosing")
    for name, lines in found.items():
        loss = interval([line.score.loss for line in lines])
        accuracy = interval([line.score.accuracy for line in lines])
        seconds = fmean(line.seconds for line in lines)
        print(f"{name} | {loss} | {accuracy} | {seconds:.0f}")


if __name__ == "__main__":
    main()
