"""A heterogeneous super-network of a published encoder, and what its operations are worth.

    python -m benchmarks.flexibert MODEL TRAIN.jsonl VALIDATION.jsonl --text-column sentence
        --checkpoint FOLDER [--evaluations 150 [--strategy boshnas]]

Trains the recipe ``flexibert`` on ``--rows`` rows, drawn at random or the ``--longest``, into
``--checkpoint``, unless that is there, and prints the accuracy of named subnets on all validation
rows.

With ``--evaluations`` it then searches by accuracy and GFLOPs on every second validation row, and
holds the heterogeneous subnets of the front, on the other rows, against the homogeneous ones of no
higher cost, all of which it measures. A subnet is homogeneous if its layers are alike. Two answers
are printed. One takes the homogeneous subnet that is best on the very rows to verify on: the best
of hundreds was lucky there, too. The other takes that which is best on the rows of the search, as
the front was chosen.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.supernet_search import run_search, search_loop
from elasticnas.api_schemas.flexibert_training import FlexiBertSettings
from elasticnas.api_schemas.jobs import StepProgress
from elasticnas.search.cost import cost_report
from elasticnas.search.space import SearchSpace, SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.examples import LabelledTexts, TokenizedExamples, tokenize
from elasticnas.supernet.methods.local import run_recipe
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.tasks.rows import Rows

BATCH = 64
PREFIX_BYTES = 2**30
TOKENS = 64
"""What subnets are priced at."""


class Measure:
    """Measures subnets on some rows; those with the same first layers share what these give."""

    def __init__(
        self, supernet: Supernet, examples: TokenizedExamples, rows: Sequence[int]
    ) -> None:
        order = sorted(rows, key=lambda row: len(examples.token_ids[row]))
        self.batches = [
            examples.batch(order[start : start + BATCH]) for start in range(0, len(order), BATCH)
        ]
        self.prefixes = PrefixCache(PREFIX_BYTES).of(supernet, self.batches)
        self._supernet = supernet
        self._labels = np.asarray(examples.labels)[order]
        self._places = np.argsort(order)

    def right(self, subnet: SubnetConfig) -> np.ndarray:
        """Which rows a subnet is right on, in ascending order."""
        with torch.inference_mode(), self.prefixes.shared(subnet) as splice:
            active = activate(self._supernet, subnet, splice)
            found = [active.logits(batch.inputs).argmax(dim=1).numpy() for batch in self.batches]
        return np.asarray(np.concatenate(found) == self._labels)[self._places]

    def accuracy(self, subnet: SubnetConfig) -> float:
        """The share of the rows that it is right on."""
        return float(self.right(subnet).mean())


@dataclass(frozen=True)
class Subject:
    """A super-network and labelled rows."""

    supernet: Supernet
    examples: TokenizedExamples

    def on(self, rows: Sequence[int] | None = None) -> Measure:
        """What measures subnets on these rows, or on all."""
        chosen = range(len(self.examples.token_ids)) if rows is None else rows
        return Measure(self.supernet, self.examples, chosen)

    def gflops(self, subnet: SubnetConfig) -> float:
        """What a subnet costs at `TOKENS` tokens."""
        return float(cost_report(self.model, subnet, TOKENS).gflops)

    @property
    def model(self) -> Any:
        """The terms of its costs."""
        return cost_model(self.supernet)


def read(file: Path, column: str, label: str) -> tuple[list[str], list[int]]:
    """Texts and labels of a JSON Lines file."""
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return [row[column] for row in rows], [int(row[label]) for row in rows]


def drawn(
    texts: Sequence[str], labels: Sequence[int], count: int, *, longest: bool = False
) -> Rows:
    """So many rows, drawn at random or the longest; all where there are no more."""
    count = min(count, len(texts))
    kept = random.Random(0).sample(range(len(texts)), len(texts) if longest else count)
    if longest:
        kept = sorted(kept, key=lambda row: -len(texts[row].split()))[:count]
    return Rows({"text": [texts[i] for i in kept]}, np.array([labels[i] for i in kept]))


def subject_of(checkpoint: Path, validation: Path, column: str, label: str) -> Subject:
    """A super-network, and the rows of a file."""
    supernet = read_supernet(checkpoint)
    texts, labels = read(validation, column, label)
    examples = tokenize(
        LabelledTexts(texts, None, labels),
        load_tokenizer(supernet),
        supernet.family,
        task=TEXT_CLASSIFICATION,
        max_length=TOKENS,
    )
    return Subject(supernet, examples)


def trained(options: argparse.Namespace) -> None:
    """Run the recipe; prints the processor's minutes."""
    texts, labels = read(options.train, options.text_column, options.label_column)
    rows = drawn(texts, labels, options.rows, longest=options.longest)
    settings = FlexiBertSettings.model_validate(
        {"max_length": TOKENS, **json.loads(options.settings)}
    )
    began = time.process_time()

    def show(progress: StepProgress) -> None:
        if progress.done % 50 == 0 or progress.done == progress.total:
            spent = (time.process_time() - began) / 60
            print(
                f"{progress.done}/{progress.total} {spent:.1f} min {progress.scalars}", flush=True
            )

    data = TrainingData(rows, TEXT_CLASSIFICATION, len(set(labels)))
    run_recipe("flexibert", options.model, data, options.checkpoint, settings, on_progress=show)
    print(f"trained on {len(rows)} rows in {(time.process_time() - began) / 60:.1f} core-minutes")


def named(space: SearchSpace) -> Iterator[tuple[str, SubnetConfig]]:
    """The maximal subnet with one thing changed in all layers, and the minimal one."""
    yield "maximal", space.maximal
    for operation in ("wma", "conv", "dft", "dct"):
        yield f"all {operation}", alike(space, {"operation": operation})
    yield "all conv, kernel 5", alike(space, {"operation": "conv", "kernel": 5})
    hidden = next(each for each in space.dimensions if each.part == "hidden")
    for width in hidden.choices[1:]:
        yield f"hidden size {width}", alike(space, {"hidden": width})
    yield "minimal", space.minimal


def alike(space: SearchSpace, chosen: dict[str, Any]) -> SubnetConfig:
    """The maximal subnet, but for the parts in ``chosen``, in all layers."""
    return space.subnet(
        {each.name: chosen[each.part] for each in space.dimensions if each.part in chosen}
    )


def homogeneous(space: SearchSpace) -> list[SubnetConfig]:
    """Every subnet whose layers are alike."""
    parts = {each.part: each.choices for each in space.dimensions}
    every = itertools.product(*parts.values())
    found = (alike(space, dict(zip(parts, choices, strict=True))) for choices in every)
    return list(dict.fromkeys(found))


def searched(
    subject: Subject, rows: Sequence[int], evaluations: int, strategy: str
) -> list[SubnetConfig]:
    """The front of a search."""
    loop = search_loop(
        subject.supernet.space,
        subject.model,
        "accuracy",
        rows=len(rows),
        max_length=TOKENS,
        budget={"evaluations": evaluations},
        strategy={"name": strategy},
    )
    measure = subject.on(rows)
    measured = run_search(loop, lambda subnet: {"accuracy": measure.accuracy(subnet)})
    found = [(each.subnet, told["accuracy"], each.cost.gflops) for each, told in measured]
    return [
        subnet
        for subnet, accuracy, gflops in found
        if not any(
            a >= accuracy and g <= gflops and (a, g) != (accuracy, gflops) for _, a, g in found
        )
    ]


@dataclass(frozen=True)
class Difference:
    """A heterogeneous subnet against a homogeneous one of no higher cost, on the same rows."""

    gflops: float
    accuracy: float
    homogeneous: float
    error: float
    """The standard error of the difference: rows that both are right on say nothing of it."""

    @classmethod
    def of(cls, gflops: float, mine: np.ndarray, other: np.ndarray) -> Difference:
        """Of which rows the two are right on."""
        apart = mine.astype(float) - other
        error = float(apart.std(ddof=1)) / math.sqrt(len(apart))
        return cls(gflops, float(mine.mean()), float(other.mean()), error)

    @property
    def points(self) -> float:
        """By how much the heterogeneous one is better."""
        return self.accuracy - self.homogeneous


def compare(subject: Subject, evaluations: int, strategy: str) -> None:
    """Whether a heterogeneous subnet beats every homogeneous one of no higher cost."""
    space = subject.supernet.space
    count = len(subject.examples.token_ids)
    front = searched(subject, range(0, count, 2), evaluations, strategy)
    every = homogeneous(space)
    mixed = sorted(set(front) - set(every), key=subject.gflops)
    costliest = max(map(subject.gflops, mixed), default=0.0)
    measure = subject.on()
    cheap_enough = [each for each in every if subject.gflops(each) <= costliest]
    print(
        f"{strategy}: front of {len(front)}, {len(mixed)} heterogeneous; {len(every)} homogeneous "
        f"subnets, {len(cheap_enough)} of no higher cost; {count // 2} rows to verify on",
        flush=True,
    )
    others = [
        (subject.gflops(each), measure.right(each))
        for each in sorted(cheap_enough, key=lambda each: measure.prefixes.place(dict(each)))
    ]
    found = [(subject.gflops(each), measure.right(each)) for each in mixed]
    for chosen_on, first in (("the rows to verify on", 1), ("the rows of the search", 0)):
        told = [
            Difference.of(
                cost, right[1::2], max(cheap, key=lambda each: each[first::2].sum())[1::2]
            )
            for cost, right in found
            if (cheap := [each for gflops, each in others if gflops <= cost])
        ]
        answer(f"homogeneous subnets chosen on {chosen_on}", told)


def answer(title: str, told: Sequence[Difference]) -> None:
    """Print every difference, and whether one is more than its standard error."""
    print(title)
    print(f"{'GFLOPs':>8} {'accuracy':>9} {'homogeneous':>12} {'difference':>11} {'error':>7}")
    for each in told:
        print(
            f"{each.gflops:8.4f} {each.accuracy:9.4f} {each.homogeneous:12.4f} "
            f"{each.points:+11.4f} {each.error:7.4f}"
        )
    above = sum(each.points > each.error for each in told)
    mean = float(np.mean([each.points for each in told])) if told else math.nan
    print(
        f"{above} of {len(told)} are better by more than a standard error; mean difference "
        f"{mean:+.4f}: {'yes' if above else 'no gain from heterogeneity here'}",
        flush=True,
    )


def main() -> None:
    """Train, measure, and search if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--text-column", default="text")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--longest", action="store_true", help="learn from the longest rows")
    parser.add_argument("--settings", default="{}", help="of the recipe, as JSON")
    parser.add_argument("--evaluations", type=int, help="of a search")
    parser.add_argument("--strategy", default="pareto", help="of the search")
    options = parser.parse_args()
    if not options.checkpoint.exists():
        trained(options)
    subject = subject_of(
        options.checkpoint, options.validation, options.text_column, options.label_column
    )
    supernet, count = subject.supernet, len(subject.examples.token_ids)
    print(f"{count} rows; a space of {supernet.space.size:.3g} subnets")
    measure = subject.on()
    for name, subnet in named(supernet.space):
        accuracy = measure.accuracy(subnet)
        print(f"{name:<20} {accuracy:.4f} {subject.gflops(subnet):8.4f} GFLOPs", flush=True)
    if options.evaluations:
        compare(subject, options.evaluations, options.strategy)


if __name__ == "__main__":
    main()
