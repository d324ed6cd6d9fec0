"""Evaluate every subnet of a small part of a real super-network once, and store the table.

    python -m benchmarks.problems.tabulate CHECKPOINT DATA.jsonl --text sentence --max-length 64 \\
        --free layer.0.ffn.width layer.5.attention.heads ... --output table.json

All other dimensions stay at their largest choice. Subnets that agree on their first layers share
what those compute, and behind the last attention only the first token is needed, so thousands of
subnets cost what a few hundred would; some are evaluated in full to show that it is the same.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call

from benchmarks.labelled_rows import add_arguments, read_examples
from elasticnas.api_schemas.spaces import Dimension
from elasticnas.search.space import SearchSpace
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.forward.activation import active_tensors
from elasticnas.supernet.measuring.examples import Batch
from elasticnas.supernet.measuring.measure import Lap, measure
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TEXT_CLASSIFICATION


@dataclass(frozen=True)
class Stage:
    """Half an encoder layer, and its weights at each choice of the one dimension that cuts it.

    ``weights[part][i]`` are the tensors of the module ``part`` at choice i.
    """

    layer: Any
    feed_forward: bool
    last: bool
    weights: list[dict[str, dict[str, torch.Tensor]]]

    def run(self, choice: int, hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Hidden states (rows, tokens, size) after this half layer."""
        weights = self.weights[choice]
        if not self.feed_forward:
            out: torch.Tensor = functional_call(
                self.layer.attention, weights["attention"], (hidden, mask)
            )[0]
            return out[:, :1] if self.last else out
        inner = functional_call(self.layer.intermediate, weights["intermediate"], (hidden,))
        result: torch.Tensor = functional_call(
            self.layer.output, weights["output"], (inner, hidden)
        )
        return result


def stages(supernet: Supernet, free: list[Dimension]) -> list[Stage]:
    """The encoder as half layers, in order."""
    layers = supernet.model.get_submodule(supernet.family.layers)
    assert isinstance(layers, nn.ModuleList)
    found = []
    for index, layer in enumerate(layers):
        for half, parts in (("attention.heads", ["attention"]), ("ffn.width", FEED_FORWARD)):
            name = f"layer.{index}.{half}"
            choices = next((d.choices for d in free if d.name == name), None)
            subnets = [supernet.space.subnet({name: c} if choices else {}) for c in choices or [0]]
            prefixes = {part: f"{supernet.family.layers}.{index}.{part}." for part in parts}
            weights = [
                {
                    part: {n.removeprefix(p): t for n, t in tensors.items() if n.startswith(p)}
                    for part, p in prefixes.items()
                }
                for tensors in (active_tensors(supernet, subnet) for subnet in subnets)
            ]
            last = index == len(layers) - 1
            found.append(Stage(layer, half == "ffn.width", last, weights))
    return found


FEED_FORWARD = ["intermediate", "output"]


def right_answers(
    model: Any, plan: list[Stage], batch: Batch, labels: torch.Tensor
) -> Iterator[int]:
    """How many rows of a batch each subnet gets right, the last stage's choice varying fastest."""
    encoder = model.base_model
    tokens = batch.inputs
    types = {k: v for k, v in tokens.items() if k == "token_type_ids"}
    hidden = encoder.embeddings(input_ids=tokens["input_ids"], **types)
    mask = tokens.get("attention_mask")
    expected = labels[batch.rows]

    def walk(depth: int, hidden: torch.Tensor) -> Iterator[int]:
        if depth == len(plan):
            logits = model.classifier(encoder.pooler(hidden))
            yield int((logits.argmax(dim=1) == expected).sum())
            return
        for choice in range(len(plan[depth].weights)):
            yield from walk(depth + 1, plan[depth].run(choice, hidden, mask))

    yield from walk(0, hidden)


def main() -> None:
    """Write the table: the free dimensions, the cost model, and the right answers per subnet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--free", nargs="+", required=True, help="attention heads and FFN widths")
    parser.add_argument("--check", type=int, default=5, help="subnets to evaluate in full as well")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()

    supernet = read_supernet(options.checkpoint).to(torch.device("cpu"), torch.float32)
    examples = read_examples(supernet, options)
    batches = examples.batches(4096)
    by_layer = sorted(
        (d for d in supernet.space.dimensions if d.name in options.free),
        key=lambda d: (int(d.name.split(".")[1]), d.name),
    )
    space = SearchSpace(tuple(by_layer))
    plan = stages(supernet, by_layer)
    correct = np.zeros(space.size, dtype=int)
    with torch.inference_mode():
        for done, batch in enumerate(batches):
            counts = right_answers(supernet.model, plan, batch, torch.from_numpy(examples.labels))
            correct += np.fromiter(counts, dtype=int, count=space.size)
            print(f"batch {done + 1} of {len(batches)}", file=sys.stderr, flush=True)

    laps = [Lap.whole(batches)]
    everything = list(itertools.islice(space.enumerate(), space.size))
    for index in random.Random(0).sample(range(space.size), options.check):
        subnet = supernet.space.subnet(dict(everything[index]))
        full = measure(supernet, subnet, laps, examples.labels, TEXT_CLASSIFICATION).metrics
        difference = correct[index] - (full or {})["accuracy"] * len(examples)
        print(f"subnet {index}: {correct[index]} right, {difference:+.0f} against in full")

    frozen = {d.name: d.choices[0] for d in supernet.space.dimensions if d not in by_layer}
    table = {
        "rows": len(examples),
        "max_length": options.max_length,
        "dimensions": [d.model_dump(mode="json") for d in by_layer],
        "frozen": frozen,
        "cost_model": cost_model(supernet).model_dump(mode="json", exclude_defaults=True),
        "correct": correct.tolist(),
    }
    options.output.write_text(json.dumps(table, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
