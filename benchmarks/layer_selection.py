"""Which layers' adapters to keep: Flexora beside its neighbours, on one budget.

    python -m benchmarks.layer_selection MODEL TRAIN.jsonl VALIDATION.jsonl --text-column sentence
        --rows 2000 --kept 2 --select-steps 70 --steps 120 --seeds 0 1 2

Every method sees the same training rows, of which the outer ones are held out for those that want
them, and names the layers to keep. These are then trained from scratch on all training rows, with
the head, and measured on the validation rows, which nothing was chosen by. Layers that several
methods keep are trained once. Seconds are of the processor, for choosing alone, and 0 where a line
before has made the selection; no method is given more than ``--select-steps`` turns or steps, and
unrolled turns are a third as many, for each costs three to four times as much.

- ``gradient norm``: of B where it is zero, on training rows.
- ``LoRA-drop`` (Zhou et al. 2024): the squared norm of what adapters give, after training all. Its
  sharing of one adapter among the layers that are dropped is left out: no stock adapter can.
- ``AdaLoRA`` (Zhang et al. 2023), PEFT's: the same total rank, spread as it decides while it
  trains, for as many steps as choosing and training take here. It is measured as it is.
- ``greedy``: layers added one at a time, by the outer loss after a short training of each.
- ``flexora`` and ``flexora unrolled``: the largest alphas of the recipe's step `select`; ``flexora,
  phantom`` are those above the phantom, however many, and ``flexora, lowest`` the smallest alphas.
- ``search``: adapters trained with random layers off, then 30 evaluations of ``pareto`` by the
  outer loss and trainable parameters.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import torch
from scipy.stats import t

from benchmarks.adapted_layers import Score, Subject, logits_of, scored, trained
from benchmarks.layer_choices import (
    Budget,
    above_the_phantom,
    adalora,
    at_random,
    by_flexora,
    by_gradient_norm,
    by_greedy_forward,
    by_lora_drop,
    by_search,
    lowest_by_flexora,
)
from elasticnas.api_schemas.flexora_training import FlexoraSettings, Order
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.tasks.rows import Rows

ADALORA = "AdaLoRA"
DRAWS = ("random 1", "random 2", "random 3")
METHODS: Mapping[str, Callable[[Subject, Budget], list[int]]] = {
    "all": lambda _, budget: list(range(budget.layers)),
    "none": lambda _, __: [],
    **{name: partial(at_random, draw=draw) for draw, name in enumerate(DRAWS, 1)},
    "gradient norm": by_gradient_norm,
    "LoRA-drop": by_lora_drop,
    "greedy": by_greedy_forward,
    "flexora": by_flexora,
    "flexora unrolled": lambda subject, budget: by_flexora(subject, budget, Order.UNROLLED),
    "flexora, phantom": above_the_phantom,
    "flexora, lowest": lowest_by_flexora,
    "search": by_search,
}


@dataclass(frozen=True)
class Line:
    """What a method kept and came to in one seed."""

    kept: Sequence[int] | None
    score: Score
    seconds: float


@dataclass
class Judge:
    """Measures what methods keep, for one seed: by so many steps of training, on other rows."""

    subject: Subject
    validation: Subject
    budget: Budget
    steps: int
    _scores: dict[tuple[int, ...], Score] = field(default_factory=dict)

    def line(self, name: str) -> Line:
        """Choose by a method, train, and measure."""
        started = time.process_time()
        if name == ADALORA:
            score = adalora(self.subject, self.budget, self.steps, self.validation)
            return Line(None, score, time.process_time() - started)
        kept = METHODS[name](self.subject, self.budget)
        spent = time.process_time() - started
        return Line(kept, self._score(tuple(kept)), spent)

    def _score(self, kept: tuple[int, ...]) -> Score:
        if kept not in self._scores:
            supernet = trained(self.subject, kept, self.steps)
            self._scores[kept] = scored(logits_of(supernet, self.validation), self.validation)
        return self._scores[kept]


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


def judge_of(options: argparse.Namespace, seed: int) -> Judge:
    """The one of a seed."""
    given = {"max_length": 64, "batch_size": 16, "repeats": 1, "seed": seed}
    settings = FlexoraSettings.model_validate({**given, **json.loads(options.settings)})
    rows = read_data(options.train, options.text_column, options.rows, seed)
    unseen = read_data(options.validation, options.text_column, options.unseen, seed)
    subject = Subject(options.model, rows, settings)
    base = subject.read()
    layers = base.family.num_layers(base.model.config)
    budget = Budget(options.kept, layers, options.select_steps)
    return Judge(subject, replace(subject, data=unseen), budget, options.steps)


def main() -> None:
    """Print a line for each method and seed, then their means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--unseen", type=int, help="validation rows, drawn by the seed; all if not")
    parser.add_argument("--kept", type=int, default=2)
    parser.add_argument("--select-steps", type=int, default=70)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    methods = [*METHODS, ADALORA]
    parser.add_argument("--methods", nargs="+", default=methods, choices=methods)
    parser.add_argument("--settings", default="{}", help="JSON, over those of the recipe")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time(), time.monotonic()
    found: dict[str, list[Line]] = {name: [] for name in options.methods}
    for seed in options.seeds:
        judge = judge_of(options, seed)
        for name in options.methods:
            line = judge.line(name)
            found[name].append(line)
            told = f"{line.score.loss:.4f} {line.score.accuracy:.4f}"
            print(f"{seed} {name}: {line.kept} {told} {line.seconds:.0f} s", flush=True)
    tell(found)
    used, took = time.process_time() - started[0], time.monotonic() - started[1]
    print(f"{used:.0f} s of the processor, {took:.0f} s in all")


def tell(found: Mapping[str, Sequence[Line]]) -> None:
    """Print the means over seeds; of random draws also the mean of those of a seed."""
    losses = {name: [line.score.loss for line in lines] for name, lines in found.items()}
    hits = {name: [line.score.accuracy for line in lines] for name, lines in found.items()}
    if set(DRAWS) <= set(found):
        for table in (losses, hits):
            table["random, mean"] = [
                fmean(each) for each in zip(*(table[name] for name in DRAWS), strict=True)
            ]
    print("method | loss | accuracy | accuracy less that of all layers | seconds of choosing")
    for name, values in hits.items():
        behind = [a - b for a, b in zip(values, hits.get("all", values), strict=True)]
        seconds = f"{fmean(line.seconds for line in found[name]):.0f}" if name in found else ""
        cells = [interval(losses[name]), interval(values), interval(behind), seconds]
        print(" | ".join([name, *cells]))


if __name__ == "__main__":
    main()
