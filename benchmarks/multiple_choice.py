"""Multiple choice: this project's way against the plain way, side by side in one run.

The plain way scores each choice by a forward pass of context and choice through Transformers' own
modules, with the subnet's missing channels zeroed and LoRA unmerged beside every layer: in batches
of ``--plain-batch`` sequences in the order of the rows, padded to the longest. Ours runs once what
the choices of a row begin with alike, computes logits where a choice is scored, slices, and batches
by length. Both use the same weights, rows and threads, and their metrics are printed to show that
they measure the same thing. Seconds are the processor's, which others on the machine do not
lengthen much.

    OMP_NUM_THREADS=1 python -m benchmarks.multiple_choice CHECKPOINT DATA.jsonl \\
        --prompt $'Text: {sentence1}\\nKind:' --text-columns sentence1 --choices-column choices

With ``--search 100``, a whole search of so many evaluations by ``pareto`` too, in which subnets
share hidden states, against as many of the plain way. ``CHECKPOINT`` is a folder that
``elasticnas supernet add`` takes.
"""

from __future__ import annotations

import argparse
import copy
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.evaluate import UnmergedLinear
from benchmarks.supernet_search import run_search, search_loop
from elasticnas.search.space import SubnetConfig
from elasticnas.service.datasets.reading import read_rows
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.forward.joining import joined_for
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.encoder import TokenizerEncoder
from elasticnas.supernet.measuring.measure import Lap, laps_of, measure
from elasticnas.supernet.measuring.probes import PROBES
from elasticnas.supernet.measuring.trees import TreeExamples
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import MULTIPLE_CHOICE
from elasticnas.tasks.items import Item
from elasticnas.tasks.multiple_choice import MultipleChoiceSettings
from elasticnas.tasks.task import ColumnsAsked

CACHE_BYTES = 2**30


@dataclass(frozen=True)
class Measurable:
    """A super-network in float32, and rows of multiple choice as both ways run them."""

    supernet: Supernet
    settings: MultipleChoiceSettings
    items: list[Item]
    examples: TreeExamples
    token_budget: int
    max_length: int

    @classmethod
    def of(cls, options: argparse.Namespace) -> Measurable:
        """What the command line names."""
        supernet = read_supernet(options.checkpoint).to(torch.device("cpu"), torch.float32)
        texts = tuple(options.text_columns.split(","))
        choices = tuple(options.choices_column.split(","))
        asked = ColumnsAsked(texts, options.label_column, choices=choices)
        read = read_rows(options.data, task=MULTIPLE_CHOICE, asked=asked)
        rows = read.rows.select(range(min(options.rows or len(read), len(read))))
        settings = MULTIPLE_CHOICE.settle({"prompt": options.prompt}, read.known())
        assert isinstance(settings, MultipleChoiceSettings)
        tokenizer, length = load_tokenizer(supernet), options.max_length
        prepare = PROBES[MULTIPLE_CHOICE.probe].prepare
        examples = prepare(rows, MULTIPLE_CHOICE, settings, tokenizer, supernet, length)
        assert isinstance(examples, TreeExamples)
        items = MULTIPLE_CHOICE.items(rows, settings, TokenizerEncoder(tokenizer), length)
        joined = joined_for(supernet, tokens=examples.tokens, limit_bytes=2**40)
        return cls(joined, settings, items, examples, options.token_budget, length)

    def laps(self, cache: PrefixCache | None = None) -> list[Lap]:
        """One lap of all rows."""
        budget = self.token_budget
        return laps_of(self.examples, None, self.supernet, token_budget=budget, cache=cache)

    def ours(self, subnet: SubnetConfig, laps: Sequence[Lap]) -> dict[str, float]:
        """One evaluation this project's way."""
        labels = self.examples.labels
        found = measure(
            self.supernet, subnet, laps, labels, MULTIPLE_CHOICE, settings=self.settings
        )
        return found.metrics or {}

    def plain(self, subnet: SubnetConfig, size: int) -> dict[str, float]:
        """One evaluation the plain way, in batches of so many sequences."""
        model = copy.deepcopy(self.supernet.model)
        for module in self.supernet.elastic_modules:
            parent, _, name = module.rpartition(".")
            layer = UnmergedLinear(self.supernet, module, subnet)
            setattr(model.get_submodule(parent), name, layer)
        sequences = [each for item in self.items for each in item]
        sums = []
        with torch.inference_mode():
            for start in range(0, len(sequences), size):
                batch = sequences[start : start + size]
                longest = max(len(each.tokens) for each in batch)
                ids = torch.zeros(len(batch), longest, dtype=torch.int64)
                mask = torch.zeros_like(ids)
                for row, each in enumerate(batch):
                    ids[row, : len(each.tokens)] = torch.tensor(each.tokens)
                    mask[row, : len(each.tokens)] = 1
                chances = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
                chances = chances.log_softmax(dim=-1)[:, :-1]
                of_each = chances.gather(2, ids[:, 1:, None]).squeeze(2)
                for row, each in enumerate(batch):
                    scored = of_each[row, each.first - 1 : len(each.tokens) - 1]
                    sums.append(float(scored.sum()))
        raw = np.zeros((len(self.items), self.examples.sequences))
        coming = iter(sums)
        for row, item in enumerate(self.items):
            raw[row, : len(item)] = [next(coming) for _ in item]
        outcomes = MULTIPLE_CHOICE.outcomes(raw, self.examples.labels, self.settings)
        return MULTIPLE_CHOICE.measure(outcomes)


def timed(work: Callable[[], dict[str, float]]) -> tuple[float, dict[str, float]]:
    """The processor's seconds, and metrics."""
    start = time.process_time()
    metrics = work()
    return time.process_time() - start, metrics


def main() -> None:
    """Measure some subnets both ways."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--prompt", required=True)
    parser.add_argument("--text-columns", default="text")
    parser.add_argument("--choices-column", default="choices")
    parser.add_argument("--label-column", default="label")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--rows", type=int, help="only the first so many")
    parser.add_argument("--subnets", type=int, default=3, help="random ones beside the named")
    parser.add_argument("--plain-batch", type=int, default=32)
    parser.add_argument("--token-budget", type=int, default=2048)
    parser.add_argument("--search", type=int, help="evaluations of a whole search")
    options = parser.parse_args()

    measurable = Measurable.of(options)
    space, laps, rng = measurable.supernet.space, measurable.laps(), random.Random(0)
    subnets = {"maximal": space.maximal, "minimal": space.minimal, "heuristic": space.heuristic} | {
        f"random {i}": space.decode([rng.randrange(c) for c in space.cardinalities])
        for i in range(options.subnets)
    }
    plain_tokens = sum(len(each.tokens) for item in measurable.items for each in item)
    print(
        f"{len(measurable.items)} rows; tokens of the plain way {plain_tokens}, of ours "
        f"{measurable.examples.tokens}; {torch.get_num_threads()} threads"
    )
    measurable.ours(space.maximal, laps)
    print(f"{'subnet':<10} {'plain s':>8} {'ours s':>8} {'ratio':>6}   metrics, plain / ours")
    plain_seconds = []
    ratios = []
    for name, subnet in subnets.items():
        plain, expected = timed(partial(measurable.plain, subnet, options.plain_batch))
        again = [timed(partial(measurable.ours, subnet, laps)) for _ in range(3)]
        ours, found = min(again, key=lambda pair: pair[0])
        plain_seconds.append(plain)
        ratios.append(plain / ours)
        shown = ", ".join(f"{key} {expected[key]:.4f} / {found[key]:.4f}" for key in found)
        print(f"{name:<10} {plain:8.3f} {ours:8.3f} {plain / ours:6.2f}   {shown}", flush=True)
    print(f"mean ratio {statistics.mean(ratios):.2f}")
    if options.search:
        supernet = measurable.supernet
        loop = search_loop(
            supernet.space,
            cost_model(supernet),
            "mean_log_likelihood",
            rows=len(measurable.examples),
            max_length=measurable.max_length,
            budget={"evaluations": options.search},
        )
        shared = measurable.laps(PrefixCache(CACHE_BYTES))
        start = time.process_time()
        run_search(loop, lambda subnet: measurable.ours(subnet, shared))
        seconds = time.process_time() - start
        plain = options.search * statistics.mean(plain_seconds)
        print(
            f"search of {options.search}: {seconds:.1f} s; the plain way's evaluations alone "
            f"{plain:.1f} s: {plain / seconds:.1f} times"
        )


if __name__ == "__main__":
    main()
