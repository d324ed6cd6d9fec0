"""How fast the server answers while searches run: many clients polling fronts, and event streams.

    python -m benchmarks.api

Starts a private PostgreSQL and a private Redis, one server, one coordinator and one worker, begins
searches, and has 200 clients poll their fronts, each once a second and with the ETag of what it saw
last, beside 20 event streams. Prints requests per second and the latency of whole answers (200) and
of unchanged ones (304), as the clients see it, on the same machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import numpy as np

from tests.backing import PostgresServer, RedisServer
from tests.end_to_end.cluster import Cluster
from tests.end_to_end.server import write_rows
from tests.supernet.tiny import write_checkpoint

WARM_UP_SECONDS = 3.0
"""While all clients connect at once; not counted."""


@dataclass
class Seen:
    """What the clients saw: seconds by status, events by kind."""

    seconds: dict[int, list[float]] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)

    def answer(self, status: int, seconds: float) -> None:
        """One answer."""
        self.seconds.setdefault(status, []).append(seconds)


class Connection:
    """One kept-alive connection, read with as little work as possible: the clients share the
    machine with the server that they measure."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, etag: str) -> tuple[int, str]:
        """Status and ETag of an answer; its body is read to the end."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address)
        reader, writer = self._streams
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {etag}\r\n\r\n"
        try:
            writer.write(request.encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            await reader.readexactly(int(fields.get("content-length", 0)))
        except (ConnectionError, asyncio.IncompleteReadError):  # it was idle for too long
            self._streams = None
            return await self.get(path, etag)
        return int(head[0].split()[1]), fields.get("etag", etag)


async def poll(
    connection: Connection, search: str, every: float, since: float, until: float, seen: Seen
) -> None:
    """One client: the front, every so often, if it has changed; counted from ``since`` on."""
    etag = '""'
    await asyncio.sleep(random.random() * every)
    due = time.perf_counter()
    while due < until:
        start = time.perf_counter()
        status, etag = await connection.get(f"/v1/searches/{search}/front", etag)
        if start > since:
            seen.answer(status, time.perf_counter() - start)
        due += every
        await asyncio.sleep(max(0.0, due - time.perf_counter()))


async def listen(http: httpx2.AsyncClient, search: str, until: float, seen: Seen) -> None:
    """One event stream."""
    async with http.stream("GET", f"/v1/searches/{search}/events", timeout=None) as answer:
        assert answer.status_code == 200, answer.status_code
        async for line in answer.aiter_lines():
            if line.startswith("event:"):
                kind = line.partition(":")[2].strip()
                seen.events[kind] = seen.events.get(kind, 0) + 1
            if time.perf_counter() > until:
                return


async def load(host: str, port: int, searches: list[str], options: argparse.Namespace) -> Seen:
    """All clients at once, for so many seconds."""
    seen = Seen()
    every = options.clients / options.rate
    async with httpx2.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as http:
        since = time.perf_counter() + WARM_UP_SECONDS
        until = since + options.seconds
        clients = [
            poll(Connection(host, port), searches[i % len(searches)], every, since, until, seen)
            for i in range(options.clients)
        ]
        streams = [
            asyncio.create_task(listen(http, searches[i % len(searches)], until, seen))
            for i in range(options.streams)
        ]
        await asyncio.gather(*clients)
        for stream in streams:
            stream.cancel()
        for outcome in await asyncio.gather(*streams, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome
    return seen


def report(seen: Seen, seconds: float) -> None:
    """Print the figures."""
    total = sum(len(each) for each in seen.seconds.values())
    print(f"{total / seconds:.0f} requests/s over {seconds:.0f} s")
    for status, taken in sorted(seen.seconds.items()):
        spread = np.percentile(np.array(taken) * 1000, [50, 90, 99])
        p50, p90, p99 = (f"{value:6.1f} ms" for value in spread)
        print(f"{status}: {len(taken):6} answers, p50 {p50}, p90 {p90}, p99 {p99}")
    print("events:", ", ".join(f"{count} x {kind}" for kind, count in sorted(seen.events.items())))


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rate", type=float, default=200.0, help="requests/s in all")
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--searches", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="elasticnas-api-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        redis, postgres = RedisServer(folder).start(), PostgresServer(folder).start()
        cluster = Cluster(folder, postgres.url, redis.url)
        try:
            server = cluster.server()
            cluster.coordinator()
            cluster.worker()
            checkpoint = write_checkpoint(folder / "checkpoint" / "tiny")
            ids = server.register(checkpoint, write_rows(folder / "rows.jsonl", count=200))
            searches = [
                server.search(*ids, budget={"evaluations": 100_000}, seed=seed)
                for seed in range(options.searches)
            ]
            time.sleep(5)
            gc.freeze()  # a pause of the clients' own would be counted as the server's
            seen = asyncio.run(load("127.0.0.1", server.port, searches, options))
            report(seen, options.seconds)
            rates = [server.read(search)["progress"]["completed"] for search in searches]
            print(f"evaluations recorded meanwhile: {sum(rates)}", json.dumps(rates))
        finally:
            cluster.close()
            postgres.stop()
            redis.kill()


if __name__ == "__main__":
    main()
