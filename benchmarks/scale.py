"""Evaluations per second, with subnets per message, workers, rows, and dimensions.

    python -m benchmarks.scale
    python -m benchmarks.scale --tables messages workers

Starts a private PostgreSQL and a private Redis, a server, a coordinator and workers of one thread
each, and lets one search run at a time on a small real model made on the spot: so narrow that an
evaluation on few rows takes a worker some milliseconds, and what shows is everything around it.
Counted is what was recorded between two looks, after a warm-up. Beside it stands the processor time
that the workers and the coordinator took for each evaluation: on a machine with other work, and on
one with fewer cores than there are processes, it says more than the rate. A coordinator that waits
looks at the database now and then, which is in its figure.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from transformers.utils.logging import disable_progress_bar

from tests.backing import PostgresServer, RedisServer
from tests.end_to_end.cluster import Cluster
from tests.end_to_end.server import Server
from tests.supernet.tiny import sentences, write_checkpoint

LAYERS = 12
FEWEST = 20
LONGEST_SECONDS = 60.0
"""Slow evaluations are counted for longer: until there are a few of them, but not for ever."""
SHORTEST_LENGTH = 24
"""Tokens; no sentence here has more. Each search has a length of its own, so that none is answered
with another's evaluations, while all measure the same."""


@dataclass
class Bench:
    """Processes, and what is registered with them; searches run one at a time."""

    cluster: Cluster
    server: Server
    folder: Path
    warm_up: float
    seconds: float
    workers: int = 0
    _lengths: Iterator[int] = field(default_factory=lambda: count(SHORTEST_LENGTH))
    _registered: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)

    def work(self, workers: int) -> None:
        """Start workers until there are so many."""
        while self.workers < workers:
            self.cluster.worker()
            self.workers += 1

    def run(self, label: str, *, rows: int, layers: int = LAYERS, **request: Any) -> None:
        """Let one search run for a while, and print a line of a table."""
        supernet, dataset = self._ids(rows, layers)
        search = self.server.search(
            supernet,
            dataset,
            **{
                "max_length": next(self._lengths),
                "strategy": {"name": "random"},
                "budget": {"evaluations": 1_000_000},
                **request,
            },
        )
        time.sleep(self.warm_up)
        first = last = self._look(search)
        while last["at"] - first["at"] < self.seconds or (
            last["recorded"] - first["recorded"] < FEWEST
            and last["at"] - first["at"] < LONGEST_SECONDS
        ):
            time.sleep(1.0)
            last = self._look(search)
        self.server.client.post(f"/v1/searches/{search}/cancel")
        done = last["recorded"] - first["recorded"]
        if done == 0:
            raise SystemExit(f"nothing was recorded\n{self.cluster.logs()}")
        rate = done / (last["at"] - first["at"])
        worker, coordinator = (
            f"{1000 * (last[name] - first[name]) / done:.1f}" for name in ("worker", "coordinate")
        )
        print(f"| {label} | {rate:.1f} | {worker} | {coordinator} |", flush=True)

    def _look(self, search: str) -> dict[str, float]:
        """Recorded evaluations and processor seconds by kind of process, at a moment."""
        progress = self.server.read(search)["progress"]
        found = {
            "at": time.perf_counter(),
            "recorded": float(progress["completed"] + progress["failed"]),
            "worker": 0.0,
            "coordinate": 0.0,
        }
        if progress["failed"]:
            raise SystemExit(f"evaluations failed\n{self.cluster.logs()}")
        for process in psutil.Process().children():
            for name in ("worker", "coordinate"):
                if name in process.cmdline():
                    times = process.cpu_times()
                    found[name] += times.user + times.system
        return found

    def _ids(self, rows: int, layers: int) -> tuple[str, str]:
        """A super-network of so many layers and a dataset of so many rows."""
        if (rows, layers) not in self._registered:
            data = self.folder / f"rows-{rows}.jsonl"
            with data.open("w") as file:
                for text in sentences(rows):
                    file.write(json.dumps({"sentence": text, "label": int("good" in text)}) + "\n")
            checkpoint = self.folder / f"checkpoint-{rows}-{layers}" / "tiny"
            write_checkpoint(checkpoint, layers=layers)
            self._registered[rows, layers] = self.server.register(checkpoint, data)
        return self._registered[rows, layers]


def messages(bench: Bench) -> None:
    """Subnets in a message: a share of the search's window, which is what bounds them here."""
    _title("subnets in a message (1 worker, 36 dimensions, 20 rows)")
    bench.work(1)
    for subnets in (1, 2, 4, 8, 32):
        bench.run(f"{subnets}", rows=20, parallel_evaluations=2 * subnets)


def rows(bench: Bench) -> None:
    """Validation rows: what the model costs."""
    _title("rows (1 worker, 36 dimensions, window of 16)")
    bench.work(1)
    for number in (20, 200, 2_000, 10_000):
        bench.run(f"{number:,}", rows=number, parallel_evaluations=16)


def dimensions(bench: Bench) -> None:
    """Dimensions, three to a layer: what strategies, prices and rows of the database cost."""
    bench.work(1)
    for strategy in ("random", "pareto"):
        _title(f"dimensions ({strategy}, 1 worker, 200 rows, window of 16)")
        for layers in (3, 12, 24):
            bench.run(
                f"{3 * layers}",
                rows=200,
                layers=layers,
                strategy={"name": strategy},
                parallel_evaluations=16,
            )


def workers(bench: Bench) -> None:
    """Workers: on few rows the coordinator is what ends it, on many the cores."""
    for number in (1, 2, 4):
        bench.work(number)
        _title(f"rows, {number} worker(s) (36 dimensions, window of 64)")
        for size in (20, 2_000):
            bench.run(f"{size:,}", rows=size, parallel_evaluations=64)


TABLES: dict[str, Callable[[Bench], None]] = {
    "messages": messages,
    "rows": rows,
    "dimensions": dimensions,
    "workers": workers,
}
"""By name, in this order: workers are only ever added."""


def _title(varied: str) -> None:
    print(f"\n| {varied} | evaluations/s | worker, ms each | coordinator, ms each |")
    print("| --- | --- | --- | --- |")


@contextmanager
def running(folder: Path, *, warm_up: float, seconds: float) -> Iterator[Bench]:
    """The processes but for the workers, on a database and a queue of their own."""
    folder.chmod(0o755)  # PostgreSQL may run as another user
    redis, postgres = RedisServer(folder).start(), PostgresServer(folder).start()
    cluster = Cluster(folder, postgres.url, redis.url)
    try:
        server = cluster.server()
        cluster.coordinator()
        yield Bench(cluster, server, folder, warm_up, seconds)
    finally:
        cluster.close()
        postgres.stop()
        redis.kill()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--warm-up", type=float, default=4.0, help="seconds not counted")
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds counted")
    options = parser.parse_args()
    disable_progress_bar()  # type: ignore[no-untyped-call]
    with (
        tempfile.TemporaryDirectory(prefix="elasticnas-scale-") as name,
        running(Path(name), warm_up=options.warm_up, seconds=options.seconds) as bench,
    ):
        for table in TABLES:
            if table in options.tables:
                TABLES[table](bench)


if __name__ == "__main__":
    main()
