"""What an evaluation makes of a GPU: its share of the matrix peak, and small subnets a second.

    python -m benchmarks.gpu

A LoNAS super-network of BERT-base's shape with random weights, in bfloat16, on rows of random
tokens whose lengths are distributed as those of SST-2, MNLI and RTE: speed depends on lengths,
not on words. Three things are measured, packed and padded side by side:

- the maximal subnet on 10,000 rows, as a share of what the largest square products reached in the
  same run. Counted is only what has to be computed: no padding, and of the last layer only what
  the head sees. The bar is 40 %.
- random subnets on RTE's 277 rows, a second. The bar is 60.
- how often the host waits for the device in an evaluation. Once is the least.

No other GPU, and no other process on this one, should be at work. Without CUDA it ends with status
2; to see it run all the same, small and slow, and with packs row by row:

    python -m benchmarks.gpu --device cpu --dtype float32 --rows 40 --layers 2 --random 3
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.default_space import default_space
from elasticnas.supernet.families.bert import BERT
from elasticnas.supernet.formats.elasticnas import ELASTICNAS, elastic_part
from elasticnas.supernet.forward.activation import activate, active_blocks
from elasticnas.supernet.forward.packs import has_kernel
from elasticnas.supernet.measuring.batching import ACCELERATOR_BATCH_COST, packs
from elasticnas.supernet.measuring.examples import Batch, TokenizedExamples
from elasticnas.supernet.measuring.measure import Lap, measure
from elasticnas.supernet.plan import ModelShape
from elasticnas.supernet.supernet import LoraAdapter, Supernet, named_tensors
from elasticnas.tasks import TEXT_CLASSIFICATION

LENGTHS = {
    "SST-2": "4 9 10 12 13 14 15 16 17 18 19 20 21 22 23 24 24 25 26 27 28 29 30 31 32 34 35 36 39 "
    "40 42 46 55",
    "MNLI": "6 14 16 18 20 21 23 24 26 27 28 29 31 32 33 35 36 37 39 40 42 44 45 47 49 52 54 57 60 "
    "64 69 78 128",
    "RTE": "17 25 31 33 35 36 38 39 41 42 44 46 48 49 49 52 53 54 56 59 61 65 69 74 79 85 103 114 "
    "126 128 128 128 128",
}
"""From the least to the most in steps of 1/32: quantiles of the tokens of a validation row, by
BERT's uncased tokenizer, special tokens included, cut at 128."""
RTE_ROWS = 277
MAX_LENGTH = 128
ADAPTED = ("query", "key", "value", "ffn_in", "ffn_out")
RANK = 32
PEAK_BAR, SUBNETS_BAR = 0.40, 60.0


def lengths_like(task: str, rows: int) -> list[int]:
    """So many lengths, distributed as those of ``task``, in an order of chance that is always the
    same.
    """
    knots = [int(length) for length in LENGTHS[task].split()]
    places = (np.arange(rows) + 0.5) / rows * (len(knots) - 1)
    lengths = np.rint(np.interp(places, range(len(knots)), knots)).astype(int)
    return [int(length) for length in np.random.default_rng(0).permutation(lengths)]


def random_rows(lengths: Sequence[int], vocabulary: int) -> TokenizedExamples:
    """Rows of random tokens and labels, of these lengths."""
    rng = np.random.default_rng(1)
    return TokenizedExamples(
        token_ids=[rng.integers(1, vocabulary, size=length).tolist() for length in lengths],
        type_ids=[[0] * length for length in lengths],
        labels=rng.integers(2, size=len(lengths)),
        pad_id=0,
        max_length=MAX_LENGTH,
    )


def random_supernet(layers: int, device: torch.device, dtype: torch.dtype) -> Supernet:
    """BERT-base with so many layers, adapters where LoNAS has them, and the default space."""
    torch.manual_seed(0)
    config = BertConfig(num_hidden_layers=layers)
    model = BertForSequenceClassification(config)
    model.train(False).requires_grad_(False)
    adapters = {}
    for layer in range(layers):
        for role in ADAPTED:
            module = BERT.module(layer, role)
            outputs, inputs = model.get_parameter(f"{module}.weight").shape
            a, b = torch.randn(RANK, inputs) * 0.02, torch.randn(outputs, RANK) * 0.02
            adapters[module] = LoraAdapter(a, b, scaling=2.0)
    shape = ModelShape.of(BERT, config, named_tensors(model, adapters))
    elastic = elastic_part(default_space(shape, rank=RANK), shape)
    return Supernet(
        method=ELASTICNAS.name,
        family=BERT,
        model=model,
        adapters=adapters,
        space=elastic.space,
        plan=elastic.plan,
        reference_length=MAX_LENGTH,
        folder=Path(),  # nothing of it was ever in a file
    ).to(device, dtype)


def needed_flop(supernet: Supernet, subnet: SubnetConfig, lengths: Sequence[int]) -> float:
    """FLOP, two for a multiply-accumulate, in the products that rows of ``lengths`` need.

    Of the last layer these are the keys and values of all tokens, and all else of the first. What
    activation multiplies is not counted, nor anything but matrix products.
    """
    kept = active_blocks(supernet, subnet)
    last = kept[-1]
    rows, tokens, pairs = len(lengths), sum(lengths), sum(length**2 for length in lengths)
    of_all = {BERT.module(last, role) for role in ("key", "value")}
    macs = 0
    for name, module in supernet.model.named_modules():
        layer = BERT.layer_of(name)
        if not isinstance(module, torch.nn.Linear) or layer not in (None, *kept):
            continue
        weight = f"{name}.weight"
        active = supernet.plan.slice(weight, supernet.tensors[weight], subnet)
        is_whole = layer is not None and (layer < last or name in of_all)
        macs += active.numel() * (tokens if is_whole else rows)
        if layer is not None and name == BERT.module(layer, "query"):
            macs += 2 * (pairs if layer < last else tokens) * active.shape[0]
    return 2.0 * macs


def peak_flop_per_second(device: torch.device, dtype: torch.dtype) -> float:
    """The best that large square products reach: of two sizes, ten in a row."""
    sizes = (8192, 16384) if device.type == "cuda" else (512, 1024)
    rates = []
    for size in sizes:
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        ten = partial(_products, a, b, 10)
        ten()
        rates.append(10 * 2 * size**3 / seconds(ten, device))
    return max(rates)


def _products(a: torch.Tensor, b: torch.Tensor, count: int) -> None:
    for _ in range(count):
        torch.mm(a, b)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long ``work`` takes until an idle device has done all of it."""
    if device.type != "cuda":
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    begin, end = (
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(2)
    )
    torch.cuda.synchronize()
    begin.record()
    work()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1000


def waits(work: Callable[[], object]) -> int:
    """How often the host waits for a CUDA device in ``work``."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(warning.message) for warning in found)


@dataclass(frozen=True)
class Bench:
    """A super-network on a device, and datasets evaluated on it in batches of a token budget."""

    supernet: Supernet
    device: torch.device
    token_budget: int

    def rows_like(self, task: str, rows: int) -> TokenizedExamples:
        """Random rows with the lengths of ``task``."""
        return random_rows(lengths_like(task, rows), self.supernet.config.vocab_size)

    def ways(self, examples: TokenizedExamples) -> dict[str, list[Batch]]:
        """The rows packed, and padded as where there is no kernel for packs."""
        cut = {
            "packed": packs(self.supernet, examples, self.token_budget),
            "padded": examples.batches(self.token_budget, ACCELERATOR_BATCH_COST),
        }
        return {way: [batch.to(self.device) for batch in found] for way, found in cut.items()}

    def evaluation_seconds(
        self,
        subnets: Sequence[SubnetConfig],
        batches: Sequence[Batch],
        examples: TokenizedExamples,
    ) -> list[float]:
        """How long evaluations take on the wall, from activation to metrics, each as a worker's.

        The first is made once more before, unmeasured.
        """
        times = []
        for subnet in (subnets[0], *subnets):
            start = time.perf_counter()
            laps = [Lap.whole(batches)]
            measure(self.supernet, subnet, laps, examples.labels, TEXT_CLASSIFICATION)
            times.append(time.perf_counter() - start)
        return times[1:]

    def share_of_peak(self, peak: float, rows: int, runs: int) -> float:
        """Print how fast the maximal subnet is on long datasets; the least share when packed."""
        print(f"\nmaximal subnet, median of {runs}")
        print("lengths  way     rows   tokens  padding  batches  seconds  TFLOP/s  of the peak")
        subnet, shares = self.supernet.space.maximal, []
        for task in ("SST-2", "MNLI"):
            examples = self.rows_like(task, rows)
            lengths = [len(row) for row in examples.token_ids]
            flop = needed_flop(self.supernet, subnet, lengths)
            for way, batches in self.ways(examples).items():
                taken = statistics.median(
                    self.evaluation_seconds([subnet] * runs, batches, examples)
                )
                share = flop / taken / peak
                if way == "packed":
                    shares.append(share)
                padding = sum(b.inputs["input_ids"].numel() for b in batches) / sum(lengths) - 1
                print(
                    f"{task:<8} {way:<6} {rows:5d} {sum(lengths):8d} {100 * padding:6.1f} % "
                    f"{len(batches):8d} {taken:8.3f} {flop / taken / 1e12:8.3f} "
                    f"{100 * share:10.1f} %",
                    flush=True,
                )
        return min(shares)

    def subnets_per_second(self, subnets: Sequence[SubnetConfig], rows: int) -> float:
        """Print how fast ``subnets`` are on a short dataset; the rate when packed."""
        print(f"\n{len(subnets)} random subnets, {rows} rows of RTE's lengths")
        print("way     batches  subnets/s")
        examples, rates = self.rows_like("RTE", rows), {}
        for way, batches in self.ways(examples).items():
            rates[way] = len(subnets) / sum(self.evaluation_seconds(subnets, batches, examples))
            print(f"{way:<6} {len(batches):8d} {rates[way]:10.2f}", flush=True)
            if self.device.type == "cuda":
                once = partial(self.evaluation_seconds, subnets[:1], batches, examples)
                print(f"{way:<6} the host waits {waits(once) / 2:g} times an evaluation")
        with torch.inference_mode():
            activation = statistics.mean(
                seconds(partial(activate, self.supernet, subnet), self.device) for subnet in subnets
            )
        print(f"activation alone, until the device is done: {1000 * activation:.2f} ms")
        return rates["packed"]


def main() -> None:
    """Measure the peak, the maximal subnet against it, and random subnets a second."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--rows", type=int, default=10_000, help="of the long datasets")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--random", type=int, default=100, help="how many random subnets")
    parser.add_argument("--runs", type=int, default=5, help="of the maximal subnet")
    parser.add_argument("--token-budget", type=int, default=65_536)
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("this machine has no CUDA device: nothing was measured", file=sys.stderr)
        raise SystemExit(2)
    dtype: torch.dtype = getattr(torch, options.dtype)

    supernet = random_supernet(options.layers, device, dtype)
    where = torch.cuda.get_device_name() if device.type == "cuda" else "a processor"
    print(f"{where}, torch {torch.__version__}, {options.dtype}, {options.layers} layers")
    if not has_kernel(supernet.model.device, dtype, BERT.head_size(supernet.config)):
        print("no kernel for packs here: a worker pads; what is packed below goes row by row")
    peak = peak_flop_per_second(device, dtype)
    print(f"square matrix products reach {peak / 1e12:.3f} TFLOP/s")

    bench = Bench(supernet, device, options.token_budget)
    share = bench.share_of_peak(peak, options.rows, options.runs)
    space, rng = supernet.space, random.Random(0)
    drawn = [
        space.decode([rng.randrange(count) for count in space.cardinalities])
        for _ in range(options.random)
    ]
    rate = bench.subnets_per_second(drawn, min(RTE_ROWS, options.rows))
    if device.type != "cuda":
        print("\nthe bars are for GPUs: neither was tried")
        return
    print(
        f"\n{100 * share:.1f} % of the peak: the bar of {100 * PEAK_BAR:.0f} % is "
        f"{'met' if share >= PEAK_BAR else 'MISSED'}\n{rate:.1f} subnets/s: the bar of "
        f"{SUBNETS_BAR:.0f} is {'met' if rate >= SUBNETS_BAR else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
