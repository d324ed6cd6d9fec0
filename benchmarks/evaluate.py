"""Evaluations per second: this project's way against the plain way, side by side in one run.

The plain way runs the full Transformers modules with the subnet's missing channels zeroed, LoRA
unmerged in every forward pass, batches of 64 in dataset order, and everything padded to
``max_length``. Ours slices, merges, sorts by length and pads to the longest of a batch. Both use
the same weights, data and threads; their accuracies are printed to show that they measure the same
thing.

    python benchmarks/evaluate.py CHECKPOINT DATA.jsonl --text sentence --max-length 64

``CHECKPOINT`` is a folder that ``elasticnas supernet add`` takes (``elasticnas train`` writes one).
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from api_schemas.metrics import Task
from search.space import SubnetConfig
from supernet.checkpoint.reader import load_tokenizer, read_supernet
from supernet.evaluation import evaluate
from supernet.examples import LabelledTexts, TokenizedExamples, tokenize
from supernet.metrics import task_metrics
from supernet.plan import LORA_A, LORA_B
from supernet.supernet import Supernet


class UnmergedLinear(nn.Module):
    """A full linear layer with its LoRA branch beside it, masked to the active rank and width."""

    def __init__(self, supernet: Supernet, module: str, subnet: SubnetConfig) -> None:
        super().__init__()
        self.weight = supernet.tensors[f"{module}.weight"].detach().clone()
        self.bias = supernet.tensors[f"{module}.bias"].detach().clone()
        plan = supernet.plan
        if (cut := plan.along(f"{module}.weight", 0)) is not None:
            self.weight[cut.unit * subnet[cut.dimension] :] = 0
            self.bias[cut.unit * subnet[cut.dimension] :] = 0
        if (cut := plan.along(f"{module}.weight", 1)) is not None:
            self.weight[:, cut.unit * subnet[cut.dimension] :] = 0
        self.adapter = supernet.adapters.get(module)
        if self.adapter is not None:
            self.a, self.b = self.adapter.a.clone(), self.adapter.b.clone()
            for tensor, name in ((self.a, LORA_A), (self.b, LORA_B)):
                for axis in (0, 1):
                    if (cut := plan.along(f"{module}.{name}", axis)) is not None:
                        active = cut.unit * subnet[cut.dimension]
                        tensor.narrow(axis, active, tensor.shape[axis] - active).zero_()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """``W x + b + scaling * B (A x)``."""
        output = functional.linear(inputs, self.weight, self.bias)
        if self.adapter is not None:
            branch = functional.linear(functional.linear(inputs, self.a), self.b)
            output = output + self.adapter.scaling * branch
        return output


def plain_accuracy(
    supernet: Supernet, subnet: SubnetConfig, examples: TokenizedExamples, batch_size: int = 64
) -> float:
    """One evaluation the plain way."""
    model = copy.deepcopy(supernet.model)
    for module in supernet.elastic_modules:
        parent, _, name = module.rpartition(".")
        setattr(model.get_submodule(parent), name, UnmergedLinear(supernet, module, subnet))
    logits = []
    with torch.inference_mode():
        for start in range(0, len(examples), batch_size):
            rows = range(start, min(start + batch_size, len(examples)))
            batch = examples.batch(rows, pad_to=examples.max_length)
            logits.append(model(**batch.inputs).logits)
    return task_metrics(Task.CLASSIFICATION, torch.cat(logits), examples.labels)["accuracy"]


def seconds(work: Callable[[], float]) -> tuple[float, float]:
    """How long ``work`` took, and what it returned."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main() -> None:
    """Time both ways in turn on the maximal, heuristic and minimal subnets; print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("data", type=Path, help="JSONL with a text column and an integer label")
    parser.add_argument("--text", default="text")
    parser.add_argument("--label", default="label")
    parser.add_argument("--max-length", type=int, default=64)
    parser.add_argument("--token-budget", type=int, default=4096)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()

    supernet = read_supernet(options.checkpoint)
    rows = [json.loads(line) for line in options.data.read_text().splitlines()]
    examples = tokenize(
        LabelledTexts([r[options.text] for r in rows], None, [r[options.label] for r in rows]),
        load_tokenizer(supernet),
        supernet.architecture,
        task=Task.CLASSIFICATION,
        max_length=options.max_length,
    )
    batches = examples.batches(options.token_budget)

    def ours(subnet: SubnetConfig) -> float:
        metrics = evaluate(supernet, subnet, batches, examples.labels, Task.CLASSIFICATION)
        return metrics["accuracy"]

    print(f"{len(examples)} rows, {torch.get_num_threads()} threads, median of {options.runs} runs")
    print("subnet     ours/s  plain/s   ratio   accuracy ours / plain")
    space = supernet.space
    for name in ("maximal", "heuristic", "minimal"):
        subnet: SubnetConfig = getattr(space, name)
        ours(subnet)
        pairs = [
            (
                seconds(lambda subnet=subnet: ours(subnet)),  # type: ignore[misc]
                seconds(lambda subnet=subnet: plain_accuracy(supernet, subnet, examples)),  # type: ignore[misc]
            )
            for _ in range(options.runs)
        ]
        fast = statistics.median(ours_run[0] for ours_run, _ in pairs)
        slow = statistics.median(plain_run[0] for _, plain_run in pairs)
        ratio = statistics.median(plain_run[0] / ours_run[0] for ours_run, plain_run in pairs)
        accuracies = f"{pairs[0][0][1]:.4f} / {pairs[0][1][1]:.4f}"
        print(f"{name:<9} {1 / fast:7.3f} {1 / slow:8.3f} {ratio:6.2f}x   {accuracies}")


if __name__ == "__main__":
    main()
