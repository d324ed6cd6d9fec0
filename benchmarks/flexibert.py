"""A heterogeneous super-network of a published encoder, and what its operations are worth.

    python -m benchmarks.flexibert MODEL TRAIN.jsonl VALIDATION.jsonl --text-column sentence
        --checkpoint FOLDER [--evaluations 150]

Trains the recipe ``flexibert`` on ``--rows`` rows into ``--checkpoint``, unless that is there, and
prints the accuracy of named subnets on all validation rows. With ``--evaluations`` it then searches
by accuracy and GFLOPs on every second validation row, and holds the heterogeneous subnets that it
found, on the other rows, against *all* homogeneous ones of no higher cost. A subnet is homogeneous
if its layers are alike.
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
from elasticnas.supernet.measuring.examples import LabelledTexts, TokenizedExamples, tokenize
from elasticnas.supernet.methods.local import run_recipe
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.tasks.rows import Rows

BATCH = 64
TOKENS = 64
"""What subnets are priced at."""


@dataclass(frozen=True)
class Subject:
    """A super-network and labelled rows."""

    supernet: Supernet
    examples: TokenizedExamples

    def accuracy(self, subnet: SubnetConfig, rows: Sequence[int]) -> float:
        """The share of these rows that a subnet is right on."""
        active = activate(self.supernet, subnet)
        order = sorted(rows, key=lambda row: len(self.examples.token_ids[row]))
        right = 0
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                batch = order[start : start + BATCH]
                found = active.logits(self.examples.batch(batch).inputs).argmax(dim=1).numpy()
                right += int((found == np.asarray(self.examples.labels)[batch]).sum())
        return right / len(order)

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


def trained(options: argparse.Namespace) -> None:
    """Run the recipe; prints the processor's minutes."""
    texts, labels = read(options.train, options.text_column, options.label_column)
    kept = random.Random(0).sample(range(len(texts)), min(options.rows, len(texts)))
    rows = Rows({"text": [texts[i] for i in kept]}, np.array([labels[i] for i in kept]))
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
    print(f"trained on {len(kept)} rows in {(time.process_time() - began) / 60:.1f} core-minutes")


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


def searched(subject: Subject, rows: Sequence[int], evaluations: int) -> list[SubnetConfig]:
    """The front of a search by the default strategy."""
    loop = search_loop(
        subject.supernet.space,
        subject.model,
        "accuracy",
        rows=len(rows),
        max_length=TOKENS,
        budget={"evaluations": evaluations},
    )
    measured = run_search(loop, lambda subnet: {"accuracy": subject.accuracy(subnet, rows)})
    found = [(each.subnet, told["accuracy"], each.cost.gflops) for each, told in measured]
    return [
        subnet
        for subnet, accuracy, gflops in found
        if not any(
            a >= accuracy and g <= gflops and (a, g) != (accuracy, gflops) for _, a, g in found
        )
    ]


def compare(subject: Subject, evaluations: int) -> None:
    """Whether a heterogeneous subnet beats every homogeneous one of no higher cost."""
    count = len(subject.examples.token_ids)
    front = searched(subject, range(0, count, 2), evaluations)
    verify = range(1, count, 2)
    alike_ones = homogeneous(subject.supernet.space)
    known = set(alike_ones)
    others = [(subject.gflops(each), subject.accuracy(each, verify)) for each in alike_ones]
    print(
        f"front of {len(front)}, {sum(s not in known for s in front)} heterogeneous; "
        f"{len(others)} homogeneous subnets; {len(verify)} rows to verify on"
    )
    print(f"{'GFLOPs':>8} {'accuracy':>9} {'homogeneous':>12} {'difference':>11} {'error':>7}")
    gains = []
    for subnet in sorted(set(front) - known, key=subject.gflops):
        cost, accuracy = subject.gflops(subnet), subject.accuracy(subnet, verify)
        best = max((a for g, a in others if g <= cost), default=math.nan)
        error = math.sqrt(accuracy * (1 - accuracy) / len(verify))
        gains.append((accuracy - best) / error)
        print(f"{cost:8.4f} {accuracy:9.4f} {best:12.4f} {accuracy - best:+11.4f} {error:7.4f}")
    best_gain = max((gain for gain in gains if not math.isnan(gain)), default=-math.inf)
    answer = "yes" if best_gain > 1 else "no gain from heterogeneity here"
    print(f"largest difference in standard errors: {best_gain:+.2f}: {answer}")


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
    parser.add_argument("--settings", default="{}", help="of the recipe, as JSON")
    parser.add_argument("--evaluations", type=int, help="of a search")
    options = parser.parse_args()
    if not options.checkpoint.exists():
        trained(options)
    supernet = read_supernet(options.checkpoint)
    texts, labels = read(options.validation, options.text_column, options.label_column)
    examples = tokenize(
        LabelledTexts(texts, None, labels),
        load_tokenizer(supernet),
        supernet.family,
        task=TEXT_CLASSIFICATION,
        max_length=TOKENS,
    )
    subject = Subject(supernet, examples)
    print(f"{len(texts)} rows; a space of {supernet.space.size:.3g} subnets")
    for name, subnet in named(supernet.space):
        accuracy = subject.accuracy(subnet, range(len(texts)))
        print(f"{name:<20} {accuracy:.4f} {subject.gflops(subnet):8.4f} GFLOPs", flush=True)
    if options.evaluations:
        compare(subject, options.evaluations)


if __name__ == "__main__":
    main()
