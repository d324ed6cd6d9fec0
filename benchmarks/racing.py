"""What racing saves a whole search: rows, processor time, and how far its front lies behind.

    OMP_NUM_THREADS=1 python -m benchmarks.racing CHECKPOINT DATA.jsonl --text sentence

Every search is a real one, through the loop that the service drives, with 8 evaluations in flight,
and measured by what a worker measures with: once with every subnet on every row, once with races
(``--confidence``, several after another), both with shared prefixes (``--prefix-mib`` of them).
Processor time is of the whole search, proposals included. The plain way, the full Transformers
modules with missing channels zeroed, LoRA unmerged, padded batches of 64 in dataset order, computes
as much for every subnet: it is timed on a few, in the same run. Races of all the subnets that were
given up are then run to the end, to see how many would have won.

``CHECKPOINT`` is a folder that ``elasticnas supernet add`` takes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.evaluate import plain_accuracy
from benchmarks.labelled_rows import add_arguments
from benchmarks.prefixes import STRATEGIES, Dataset
from elasticnas.api_schemas.racing import Racing
from elasticnas.search.loop import Proposal, SearchLoop
from elasticnas.search.races.course import Course
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring.measure import Lap, Measured, laps_of, measure
from elasticnas.tasks import TEXT_CLASSIFICATION


@dataclass
class Searched:
    """A search that is over: its loop, what it cost, and what it gave up."""

    loop: SearchLoop
    seconds: float = 0.0
    rows: int = 0
    given_up: list[tuple[Proposal, Measured]] = field(default_factory=list)


@dataclass
class Bench:
    """Runs searches on one dataset."""

    dataset: Dataset
    token_budget: int
    prefix_bytes: int

    def laps(self, course: Course | None) -> list[Lap]:
        """The rows in laps, with no prefix known."""
        return laps_of(
            self.dataset.examples,
            course,
            self.dataset.supernet,
            token_budget=self.token_budget,
            cache=PrefixCache(self.prefix_bytes),
        )

    def run(self, strategy: str, seed: int, evaluations: int, racing: Racing | None) -> Searched:
        """One search from its first proposal to its last result."""
        examples = self.dataset.examples
        start = time.process_time()
        loop = self.dataset.search(
            strategy=STRATEGIES[strategy],
            seed=seed,
            budget={"evaluations": evaluations},
            racing=None if racing is None else racing.model_dump(),
        )
        searched = Searched(loop)
        course: Course | None = None
        laps = self.laps(course)
        waiting = deque(loop.start())
        while waiting:
            proposal = waiting.popleft()
            if course is None and (course := Course.laid_by(loop.course_hits)) is not None:
                laps = self.laps(course)
            found = measure(
                self.dataset.supernet,
                proposal.subnet,
                laps,
                examples.labels,
                TEXT_CLASSIFICATION,
                racing,
                course=course,
                rival=proposal.rival,
            )
            if found.given_up is None:
                searched.rows += len(examples)
            else:
                searched.rows += found.given_up.rows
                searched.given_up.append((proposal, found))
            step = loop.record(
                proposal.number, found.metrics, hits=found.hits, given_up=found.given_up
            )
            waiting.extend(step.proposals)
        searched.seconds = time.process_time() - start
        return searched

    def regrets(self, given_up: Sequence[tuple[Proposal, Measured]]) -> list[float]:
        """Of each that was given up, by how much it surpasses its rival on all rows."""
        laps = self.laps(None)
        found = []
        for proposal, end in given_up:
            whole = measure(
                self.dataset.supernet,
                proposal.subnet,
                laps,
                self.dataset.examples.labels,
                TEXT_CLASSIFICATION,
            )
            assert whole.metrics is not None
            assert end.given_up is not None
            found.append(whole.metrics["accuracy"] - end.given_up.bound)
        return found


def main() -> None:
    """Run the searches, and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser)
    parser.add_argument("--token-budget", type=int, default=2048)
    parser.add_argument("--prefix-mib", type=int, default=1024, help="a worker's default on a CPU")
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--strategies", nargs="+", default=["pareto"], choices=STRATEGIES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--confidence", nargs="+", type=float, default=[0.9])
    parser.add_argument("--plain", type=int, default=2, help="subnets timed the plain way")
    parser.add_argument("--check", action="store_true", help="run those given up to the end, too")
    options = parser.parse_args()

    dataset = Dataset(options)
    bench = Bench(dataset, options.token_budget, options.prefix_mib * 2**20)
    times = []
    for _ in range(options.plain):
        start = time.process_time()
        plain_accuracy(dataset.supernet, dataset.supernet.space.heuristic, dataset.examples)
        times.append(time.process_time() - start)
    plain = options.evaluations * statistics.mean(times) if times else 0.0
    print(f"{len(dataset.examples)} rows; the plain way would take {plain:.0f} s a search")
    for strategy in options.strategies:
        for seed in options.seeds:
            every = bench.run(strategy, seed, options.evaluations, None)
            best = every.loop.archive.hypervolume
            print(
                f"{strategy}, seed {seed}: every row: {every.seconds:.0f} s, "
                f"{plain / every.seconds:.2f}x the plain way, hypervolume {best:.5f}",
                flush=True,
            )
            for confidence in options.confidence:
                raced = bench.run(
                    strategy, seed, options.evaluations, Racing(confidence=confidence)
                )
                hypervolume = raced.loop.archive.hypervolume
                print(
                    f"{strategy}, seed {seed}: racing at {confidence}: {raced.seconds:.0f} s, "
                    f"{plain / raced.seconds:.2f}x the plain way; {every.rows / raced.rows:.2f}x "
                    f"fewer rows, {len(raced.given_up)} given up; hypervolume {hypervolume:.5f}, "
                    f"{100 * (hypervolume / best - 1):+.2f} %",
                    flush=True,
                )
                if options.check:
                    regrets = bench.regrets(raced.given_up)
                    won = [each for each in regrets if each > 0]
                    print(
                        f"  of {len(regrets)} given up {len(won)} would have won, by "
                        f"{100 * max(won, default=0.0):.2f} points at most",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
