"""Evaluations per second: this project's way against the plain way, side by side in one run.

The plain way runs the full Transformers modules with the subnet's missing channels zeroed, LoRA
unmerged in every forward pass, batches of 64 in dataset order, and everything padded to
``max_length``. Ours slices, merges and batches by length. Both use the same weights, data and
threads; their accuracies are printed to show that they measure the same thing. After that: the mean
over random subnets, the share of an evaluation that activation takes, and how fast its matrix
products are against bare ones of the same shapes.

    OMP_NUM_THREADS=1 python -m benchmarks.evaluate CHECKPOINT DATA.jsonl --text sentence

On a machine with other work, ``--clock processor`` with one thread leaves out the time that the
others had the core. The plain way computes as much for every subnet, so that of the random ones
only every fifth (``--plain-every``) is timed in it.

``CHECKPOINT`` is a folder that ``elasticnas supernet add`` takes (``elasticnas train`` writes one).
"""

from __future__ import annotations

import argparse
import copy
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from benchmarks.labelled_rows import add_arguments, read_examples
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.examples import Batch, TokenizedExamples
from elasticnas.supernet.measuring.measure import Lap, measure
from elasticnas.supernet.plan import LORA_A, LORA_B
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TEXT_CLASSIFICATION


class UnmergedLinear(nn.Module):
    """A full linear layer with its LoRA branch beside it, masked to the active rank and width."""

    def __init__(self, supernet: Supernet, module: str, subnet: SubnetConfig) -> None:
        super().__init__()
        self.weight = supernet.tensors[f"{module}.weight"].detach().clone()
        found = supernet.tensors.get(f"{module}.bias")
        self.bias = None if found is None else found.detach().clone()
        plan = supernet.plan
        if (cut := plan.along(f"{module}.weight", 0)) is not None:
            self.weight[cut.unit * subnet.amount(cut.dimension) :] = 0
            if self.bias is not None:
                self.bias[cut.unit * subnet.amount(cut.dimension) :] = 0
        if (cut := plan.along(f"{module}.weight", 1)) is not None:
            self.weight[:, cut.unit * subnet.amount(cut.dimension) :] = 0
        self.adapter = supernet.adapters.get(module)
        if self.adapter is not None:
            self.a, self.b = self.adapter.a.clone(), self.adapter.b.clone()
            for tensor, name in ((self.a, LORA_A), (self.b, LORA_B)):
                for axis in (0, 1):
                    if (cut := plan.along(f"{module}.{name}", axis)) is not None:
                        active = cut.unit * subnet.amount(cut.dimension)
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
    return float((torch.cat(logits).argmax(1).numpy() == examples.labels).mean())


CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


@dataclass(frozen=True)
class Products:
    """The matrix products of an evaluation: their work, and the time they took there and bare."""

    gflop: float
    seconds: float
    bare_seconds: float


def products(work: Callable[[], object], clock: Callable[[], float]) -> Products:
    """The products that ``work`` makes, timed by the profiler, then on their own, contiguous."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as profiled:
        work()
    gflop = taken = bare = 0.0
    for event in profiled.key_averages(group_by_input_shape=True):
        if event.key != "aten::addmm":
            continue
        (rows, inner), (_, columns) = event.input_shapes[1:3]
        a, b = torch.randn(rows, inner), torch.randn(inner, columns)
        torch.mm(a, b)
        start = clock()
        for _ in range(event.count):
            torch.mm(a, b)
        bare += clock() - start
        taken += event.self_cpu_time_total / 1e6
        gflop += 2e-9 * rows * inner * columns * event.count
    return Products(gflop, taken, bare)


def activation_seconds(
    supernet: Supernet, subnets: Sequence[SubnetConfig], clock: Callable[[], float]
) -> float:
    """The mean time of an activation."""
    with torch.inference_mode():
        start = clock()
        for subnet in subnets:
            activate(supernet, subnet)
        return (clock() - start) / len(subnets)


def main() -> None:
    """Time both ways in turn on named and random subnets; print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--token-budget", type=int, default=4096)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--random", type=int, default=30, help="how many random subnets")
    parser.add_argument("--plain-every", type=int, default=5)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    clock = CLOCKS[options.clock]

    supernet = read_supernet(options.checkpoint).to(torch.device("cpu"), torch.float32)
    examples = read_examples(supernet, options)
    batches = examples.batches(options.token_budget)
    laps = [Lap.whole(batches)]

    def ours(subnet: SubnetConfig) -> tuple[float, float]:
        start = clock()
        found = measure(supernet, subnet, laps, examples.labels, TEXT_CLASSIFICATION)
        return clock() - start, (found.metrics or {})["accuracy"]

    def plain(subnet: SubnetConfig) -> tuple[float, float]:
        start = clock()
        accuracy = plain_accuracy(supernet, subnet, examples)
        return clock() - start, accuracy

    tokens = sum(map(len, examples.token_ids))
    print(
        f"{len(examples)} rows of {tokens} tokens, {torch.get_num_threads()} threads, "
        f"{options.clock} clock"
    )
    print(
        f"{len(batches)} batches, padded by {100 * (padded(batches) / tokens - 1):.1f} %; the "
        f"plain way's by {100 * (len(examples) * examples.max_length / tokens - 1):.1f} %"
    )
    print(f"median of {options.runs} runs")
    print("subnet     ours/s  plain/s   ratio   accuracy ours / plain")
    space = supernet.space
    ours(space.minimal)
    for name in ("maximal", "heuristic", "minimal"):
        subnet: SubnetConfig = getattr(space, name)
        pairs = [(ours(subnet), plain(subnet)) for _ in range(options.runs)]
        fast = statistics.median(ours_run[0] for ours_run, _ in pairs)
        slow = statistics.median(plain_run[0] for _, plain_run in pairs)
        ratio = statistics.median(plain_run[0] / ours_run[0] for ours_run, plain_run in pairs)
        accuracies = f"{pairs[0][0][1]:.4f} / {pairs[0][1][1]:.4f}"
        print(f"{name:<9} {1 / fast:7.3f} {1 / slow:8.3f} {ratio:6.2f}x   {accuracies}", flush=True)

    rng = random.Random(0)
    drawn = [
        space.decode([rng.randrange(count) for count in space.cardinalities])
        for _ in range(options.random)
    ]
    fast_times, slow_times = [], []
    for number, subnet in enumerate(drawn):
        fast_times.append(ours(subnet)[0])
        if number % options.plain_every == 0:
            slow_times.append(plain(subnet)[0])
    fast, slow = statistics.mean(fast_times), statistics.mean(slow_times)
    print(
        f"{len(drawn)} random subnets, mean time of an evaluation: ours {fast:.3f} s, plain "
        f"{slow:.3f} s ({len(slow_times)} timed): {slow / fast:.2f}x"
    )
    activation = activation_seconds(supernet, drawn, clock)
    print(
        f"activation: {1000 * activation:.2f} ms, {100 * activation / fast:.3f} % of an evaluation"
    )
    middle = space.heuristic
    found = products(lambda: ours(middle), clock)
    whole = statistics.median(ours(middle)[0] for _ in range(options.runs))
    bare = found.gflop / found.bare_seconds
    print(
        f"matrix products of the heuristic subnet: {found.gflop / found.seconds:.1f} GFLOP/s, bare "
        f"{bare:.1f} GFLOP/s: {100 * found.bare_seconds / found.seconds:.0f} %; with the rest of "
        f"the evaluation on their account {100 * found.bare_seconds / whole:.0f} %"
    )


def padded(batches: Sequence[Batch]) -> int:
    """Tokens of all batches, padding included."""
    return sum(batch.inputs["input_ids"].numel() for batch in batches)


if __name__ == "__main__":
    main()
