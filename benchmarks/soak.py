"""Many searches while processes are killed at random: is anything lost, counted twice, or stuck?

    python -m benchmarks.soak --minutes 10

Starts a private PostgreSQL and a private Redis, two servers, two coordinators and four workers, and
keeps 50 searches going, half of which race. Every few seconds something is killed without warning
and started again: a worker, a coordinator, a server, Redis (which comes back empty), or PostgreSQL
is restarted. At the end the killing stops, every search is waited for, and its evaluations are
counted:

- lost: recorded once, and later missing or different; or missing at the end;
- duplicated: counted more than once;
- stuck: a search that is not completed three minutes after the last kill.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.backing import PostgresServer, RedisServer
from tests.end_to_end.cluster import Cluster, Process
from tests.end_to_end.server import Server
from tests.supernet.tiny import sentences, write_checkpoint

SETTLE_SECONDS = 180.0
ROWS = 130
"""Enough for a race of several laps."""


@dataclass
class Soak:
    """A cluster under fire, its searches, and what was seen of them."""

    cluster: Cluster
    redis: RedisServer
    postgres: PostgresServer
    servers: list[Server]
    coordinators: list[Process]
    workers: list[Process]
    evaluations: int
    rng: random.Random
    searches: dict[str, dict[int, Any]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    failovers: int = 0

    def ask(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """A request, to another server when one is away, as behind a load balancer."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            server = self.rng.choice(self.servers)
            self.requests += 1
            try:
                answer = server.client.request(method, path, **options)
                if answer.status_code < 500:
                    return answer
            except httpx2.TransportError:
                pass
            self.failovers += 1
            if time.monotonic() > deadline:
                raise TimeoutError(f"no server answered {method} {path}")
            time.sleep(0.1)

    def begin(self, ids: list[tuple[str, str]]) -> None:
        """Start one more search; the key makes asking twice start one."""
        seed = len(self.searches)
        supernet, dataset = ids[seed % len(ids)]
        body = {
            "supernet_id": supernet,
            "dataset_id": dataset,
            "max_length": 8 + seed // len(ids) % 24,
            "seed": seed,
            "strategy": {"name": "nsga2", "population_size": 16},
            "budget": {"evaluations": self.evaluations},
            "racing": {"confidence": 0.8} if seed // len(ids) % 2 else None,
        }
        headers = {"Idempotency-Key": f"soak-{seed}"}
        answer = self.ask("POST", "/v1/searches", json=body, headers=headers)
        self.searches[answer.json()["id"]] = {}

    def running(self) -> int:
        """How many searches are not over."""
        return sum(
            self.ask("GET", f"/v1/searches/{search}").json()["state"] != "completed"
            for search in list(self.searches)[-120:]
        )

    def look(self, search: str) -> int:
        """Compare a search's evaluations with those seen before: how many were lost."""
        now: dict[int, Any] = {}
        lost, cursor = 0, None
        while True:
            query = {"limit": 1000} | ({"cursor": cursor} if cursor else {})
            page = self.ask("GET", f"/v1/searches/{search}/evaluations", params=query).json()
            now |= {e["number"]: e for e in page["items"] if e["finished_at"]}
            if (cursor := page["next_cursor"]) is None:
                break
        for number, before in self.searches[search].items():
            after = now.get(number)
            lost += after is None or _result(after) != before
        self.searches[search] = {number: _result(e) for number, e in now.items()}
        return lost

    def strike_until(self, over: threading.Event) -> None:
        """Strike every few seconds."""
        while not over.wait(self.rng.uniform(1, 4)):
            self.strike()

    def strike(self) -> None:
        """Kill something, and start it again a moment later."""
        targets: list[tuple[str, float, Callable[[], None]]] = [
            ("worker", 5, lambda: self._bounce(self.rng.choice(self.workers))),
            ("coordinator", 3, lambda: self._bounce(self.rng.choice(self.coordinators))),
            ("server", 2, lambda: self._bounce(self.rng.choice(self.servers))),
            ("redis", 1, lambda: self._bounce(self.redis)),
            ("postgresql", 0.5, self._restart_postgres),
        ]
        weights = [weight for _, weight, _ in targets]
        [(name, _, act)] = self.rng.choices(targets, weights)
        self.kills[name] += 1
        act()

    def _bounce(self, victim: Process | Server | RedisServer) -> None:
        victim.kill()
        time.sleep(self.rng.uniform(0, 2))
        victim.start()

    def _restart_postgres(self) -> None:
        self.postgres.stop()
        time.sleep(self.rng.uniform(0, 2))
        self.postgres.start()


def main() -> int:
    """Run the soak; exit status 1 when anything was lost, duplicated or stuck."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--searches", type=int, default=50)
    parser.add_argument("--evaluations", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="elasticnas-soak-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        redis, postgres = RedisServer(folder).start(), PostgresServer(folder).start()
        cluster = Cluster(folder, postgres.url, redis.url)
        try:
            soak = Soak(
                cluster,
                redis,
                postgres,
                servers=[cluster.server() for _ in range(2)],
                coordinators=[cluster.coordinator() for _ in range(2)],
                workers=[cluster.worker() for _ in range(4)],
                evaluations=options.evaluations,
                rng=random.Random(options.seed),
            )
            return run(soak, folder, 60 * options.minutes, options.searches)
        finally:
            cluster.close()
            postgres.stop()
            redis.kill()


def run(soak: Soak, folder: Path, seconds: float, searches: int) -> int:
    """Keep ``searches`` searches going for so long; then count."""
    ids = [_register(soak.servers[0], folder, index) for index in range(searches)]
    for _ in range(searches):
        soak.begin(ids)
    over = threading.Event()
    killer = threading.Thread(target=soak.strike_until, args=(over,))
    killer.start()
    lost, start = 0, time.monotonic()
    while time.monotonic() - start < seconds:
        for search in soak.rng.sample(list(soak.searches), min(5, searches)):
            lost += soak.look(search)
        for _ in range(searches - soak.running()):
            soak.begin(ids)
        print(
            f"\r{time.monotonic() - start:5.0f} s, {len(soak.searches)} searches, "
            f"{sum(soak.kills.values())} kills, {lost} lost ",
            end="",
            file=sys.stderr,
            flush=True,
        )
        time.sleep(1)
    over.set()
    killer.join()
    return report(soak, lost, time.monotonic() - start)


def report(soak: Soak, lost: int, seconds: float) -> int:
    """Wait for every search and print the counts."""
    deadline = time.monotonic() + SETTLE_SECONDS
    stuck = set(soak.searches)
    while stuck and time.monotonic() < deadline:
        stuck -= {
            search
            for search in stuck
            if soak.ask("GET", f"/v1/searches/{search}").json()["state"] == "completed"
        }
        time.sleep(0.5)
    duplicated = failed = recorded = given_up = 0
    for search in soak.searches:
        lost += soak.look(search)
        numbers = set(soak.searches[search])
        progress = soak.ask("GET", f"/v1/searches/{search}").json()["progress"]
        failed += progress["failed"]
        recorded += len(numbers)
        if search not in stuck:
            lost += len(set(range(soak.evaluations)) - numbers)
            ended = sum(progress[how] for how in ("completed", "given_up", "failed"))
            duplicated += ended - len(numbers)
            given_up += progress["given_up"]
    print(f"\n{seconds:.0f} s under fire, then every search was waited for")
    print("killed:", ", ".join(f"{count} x {name}" for name, count in sorted(soak.kills.items())))
    print(
        f"searches: {len(soak.searches)} of {soak.evaluations} evaluations, {recorded} recorded, "
        f"{given_up} of them given up"
    )
    print(f"requests: {soak.requests}, {soak.failovers} of them made again elsewhere")
    print(f"lost {lost}, duplicated {duplicated}, stuck {len(stuck)}, failed {failed}")
    return int(bool(lost or duplicated or stuck or failed))


def _result(evaluation: dict[str, Any]) -> tuple[Any, Any]:
    """What may never change once it was recorded."""
    return evaluation["metrics"], evaluation["given_up"]


def _register(server: Server, folder: Path, index: int) -> tuple[str, str]:
    rows = folder / f"rows-{index}.jsonl"
    with rows.open("w") as file:
        for text in sentences(ROWS, seed=index):
            file.write(json.dumps({"sentence": text, "label": int("good" in text)}) + "\n")
    checkpoint = folder / f"checkpoint-{index % 4}" / "tiny"
    if not checkpoint.exists():
        write_checkpoint(checkpoint, seed=index % 4)
    return server.register(checkpoint, rows)


if __name__ == "__main__":
    sys.exit(main())
