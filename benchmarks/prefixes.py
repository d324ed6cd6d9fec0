"""What sharing first layers saves a search: with room for few prefixes and many, and in seconds.

    OMP_NUM_THREADS=1 python -m benchmarks.prefixes CHECKPOINT DATA.jsonl --text sentence \\
        --max-length 64 --keep recorded

Each search is a real one, through the very loop that the service drives, with 8 evaluations in
flight. The subnets that it proposed then go by a cache again, once for each size of it, and nothing
is computed: what is counted are the layers that an evaluation is spared, of all that it has, and
the multiply-accumulates in them. At the end a stretch of the first search is measured with a cache
and without, subnet by subnet in turn; the logits are the same to the bit, and so are the metrics.

``--recorded NAME.jsonl ...`` takes subnets from files instead: what ``--keep`` wrote, or what
``elasticnas search evaluations`` prints. ``CHECKPOINT`` is a folder that ``elasticnas supernet
add`` takes.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.labelled_rows import add_arguments, read_examples
from benchmarks.supernet_search import run_search, search_loop
from elasticnas.api_schemas.costs import CostModel
from elasticnas.search.cost import cost_report
from elasticnas.search.cost_terms import cost_model as summed
from elasticnas.search.loop import SearchLoop
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.cost_model import cost_model, layer_terms
from elasticnas.supernet.forward.activation import active_blocks
from elasticnas.supernet.forward.prefixes import Prefix, PrefixCache, Prefixes
from elasticnas.supernet.measuring.examples import Batch
from elasticnas.supernet.measuring.measure import Lap, measure
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TEXT_CLASSIFICATION

STRATEGIES: dict[str, dict[str, Any]] = {
    "pareto": {"name": "pareto"},
    "nsga2": {"name": "nsga2", "population_size": 20},
    "nsga2, layer": {"name": "nsga2", "population_size": 20, "crossover": "layer"},
}
SIZES = (1, 2, 4, 8, 16, 32, 64, 256)
PLENTY = 2**62


class LeastRecentlyUsed(PrefixCache):
    """The usual way to bound a cache, to compare with; of equals the deepest goes."""

    def worths(self, kept: list[Prefix]) -> list[float]:
        """The same for all, so that only the last use counts."""
        return [0.0] * len(kept)


class Dataset:
    """A super-network, and the first rows of a file, tokenised for it and in batches."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.supernet: Supernet = read_supernet(options.checkpoint).to(
            torch.device("cpu"), torch.float32
        )
        self.examples = read_examples(self.supernet, options)
        self.batches: list[Batch] = self.examples.batches(options.token_budget)
        self.cost_model: CostModel = cost_model(self.supernet)
        self.max_length: int = options.max_length

    def prefixes(self, size: int, kind: type[PrefixCache] = PrefixCache) -> Prefixes:
        """None yet, in a cache with room for ``size``."""
        cache = kind(PLENTY)
        prefixes = cache.of(self.supernet, self.batches)
        cache.limit(size * prefixes.bytes_each)
        return prefixes

    def metrics(self, subnet: SubnetConfig, prefixes: Prefixes | None) -> dict[str, float]:
        """One evaluation."""
        laps = [Lap.whole(self.batches, prefixes)]
        labels, task = self.examples.labels, TEXT_CLASSIFICATION
        return measure(self.supernet, subnet, laps, labels, task).metrics or {}

    def search(self, **request: Any) -> SearchLoop:
        """A search by accuracy and GFLOPs, not begun yet."""
        return search_loop(
            self.supernet.space,
            self.cost_model,
            "accuracy",
            rows=len(self.examples),
            max_length=self.max_length,
            **request,
        )

    def gflops(self, subnet: SubnetConfig, first: int | None = None) -> float:
        """Billions of multiply-accumulates a row: of all layers and the head, or the first few."""
        model = self.cost_model
        if first is not None:
            model = summed(t for each in range(first) for t in layer_terms(self.supernet, each))
        return cost_report(model, subnet, self.max_length).gflops


def searched(dataset: Dataset, settings: dict[str, Any], evaluations: int) -> list[SubnetConfig]:
    """The subnets of a search, in the order in which they were proposed."""
    loop = dataset.search(strategy=settings, budget={"evaluations": evaluations})
    prefixes = dataset.prefixes(64)
    found = run_search(loop, lambda subnet: dataset.metrics(subnet, prefixes))
    return [proposal.subnet for proposal, _ in found]


def spared(
    dataset: Dataset,
    subnets: list[SubnetConfig],
    size: int,
    kind: type[PrefixCache] = PrefixCache,
    *,
    workers: int = 1,
) -> tuple[float, float]:
    """The shares of layer passes and of multiply-accumulates saved by room for ``size``.

    Of ``workers`` that take turns, each has as much room.
    """
    each = [dataset.prefixes(size, kind) for _ in range(workers)]
    passes = done = 0
    layers, all_layers = 0.0, 0.0
    for number, subnet in enumerate(subnets):
        with each[number % workers].shared(subnet) as splice:
            passes += splice.first
        done += len(active_blocks(dataset.supernet, subnet))
        layers += dataset.gflops(subnet, splice.first)
        all_layers += dataset.gflops(subnet)
    return passes / done, layers / all_layers


def timed(dataset: Dataset, subnets: list[SubnetConfig], size: int) -> tuple[float, float]:
    """Processor seconds of all evaluations, plain and shared, the two of a subnet in turn."""
    prefixes = dataset.prefixes(size)
    plain = shared = 0.0
    dataset.metrics(subnets[0], None)
    for subnet in subnets:
        start = time.process_time()
        expected = dataset.metrics(subnet, None)
        middle = time.process_time()
        found = dataset.metrics(subnet, prefixes)
        shared += time.process_time() - middle
        plain += middle - start
        if found != expected:
            raise SystemExit(f"not the same metrics: {found} for {expected} of {dict(subnet)}")
    return plain, shared


def main() -> None:
    """Run or read the searches, count what each size of a cache saves, and measure a stretch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--token-budget", type=int, default=4096)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=STRATEGIES)
    parser.add_argument("--keep", type=Path, help="folder to write the searches' subnets to")
    parser.add_argument("--recorded", nargs="+", type=Path, help="JSONL, instead of searches")
    parser.add_argument("--workers", type=int, default=1, help="that take turns, in the table")
    parser.add_argument("--timed", type=int, default=30, help="how many are measured; 0 is none")
    parser.add_argument("--from", dest="begin", type=int, default=100, help="first one measured")
    parser.add_argument("--size", type=int, default=32, help="prefixes kept in what is measured")
    options = parser.parse_args()

    dataset = Dataset(options)
    mebibytes = dataset.prefixes(1).bytes_each / 2**20
    print(f"{len(dataset.examples)} rows, {mebibytes:.1f} MiB a prefix")
    print("\nshare of layer passes (of multiply-accumulates) saved, by prefixes kept")
    print(f"{'':<24}" + "".join(f"{size:>14}" for size in SIZES))
    found: dict[str, list[SubnetConfig]] = {}
    if options.recorded:
        for path in options.recorded:
            lines = path.read_text(encoding="utf-8").splitlines()
            space = dataset.supernet.space
            found[path.stem] = [space.subnet(json.loads(line)["subnet"]) for line in lines]
    for name in () if options.recorded else options.strategies:
        found[name] = searched(dataset, STRATEGIES[name], options.evaluations)
        if options.keep is not None:
            options.keep.mkdir(parents=True, exist_ok=True)
            rows = [json.dumps({"subnet": dict(subnet)}) for subnet in found[name]]
            (options.keep / f"{name}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for name, subnets in found.items():
        for suffix, kind in (("", PrefixCache), (", LRU", LeastRecentlyUsed)):
            shares = [
                spared(dataset, subnets, size, kind, workers=options.workers) for size in SIZES
            ]
            cells = [f"{passes:>7.1%} ({macs:>4.0%})" for passes, macs in shares]
            print(f"{name + suffix:<24}" + "".join(f"{cell:>14}" for cell in cells), flush=True)
    if options.timed:
        name, subnets = next(iter(found.items()))
        stretch = subnets[options.begin : options.begin + options.timed]
        plain, shared = timed(dataset, stretch, options.size)
        _, macs = spared(dataset, stretch, options.size)
        print(
            f"\n{len(stretch)} subnets of {name} from {options.begin}, {options.size} prefixes, "
            f"none at first: {plain:.1f} s plain, {shared:.1f} s shared, "
            f"{1 - shared / plain:.1%} saved ({macs:.1%} of multiply-accumulates)"
        )


if __name__ == "__main__":
    main()
