"""A PostgreSQL that goes silent, comes back at another address, restarts, or turns read-only.

Real processes, which reach a private PostgreSQL through a proxy that can stop forwarding without
closing anything. A request must take at most five seconds, a process that is told to stop fifteen,
a search must go on within a minute; the bounds here are wider, for a machine that has more to do.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.backing import PostgresServer, RedisServer
from tests.end_to_end.cluster import Cluster, Process, until
from tests.end_to_end.server import Server, write_rows
from tests.end_to_end.test_failures import Team
from tests.proxy import Proxy
from tests.supernet.test_reader import write_lonas

pytestmark = pytest.mark.slow

SILENCE_SECONDS = 60
LONGEST_REQUEST_SECONDS = 10
LONGEST_STOP_SECONDS = 30
BACK_SECONDS = 120


@dataclass
class Silent(Team):
    """A team whose database is behind a proxy, with a second coordinator that stands by."""

    proxy: Proxy = field(init=False)
    second: Process = field(init=False)

    def processes(self) -> list[Process]:
        return [self.coordinator, self.second, self.worker]

    def begin_again(self) -> None:
        """Whatever was stopped is started."""
        if self.server.process is not None and self.server.process.poll() is not None:
            self.server.start()
        for each in self.processes():
            if not each.is_running:
                each.start()

    def drivers(self) -> set[str]:
        """Who drives the search."""
        with psycopg.connect(self.postgres.url.replace("+psycopg", "")) as connection:
            return {
                row[0]
                for row in connection.execute(
                    "SELECT coordinator_id FROM searches WHERE coordinator_id IS NOT NULL"
                )
            }


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silent]:
    """Started once for the module: processes are dear."""
    folder = tmp_path_factory.mktemp("silence")
    redis = RedisServer(folder).start()
    postgres = PostgresServer(folder).start()
    proxy = Proxy(postgres.port)
    url = make_url(postgres.url).set(port=proxy.port).render_as_string()
    cluster = Cluster(folder, url, redis.url)
    try:
        server = cluster.server()
        coordinator, second, worker = cluster.coordinator(), cluster.coordinator(), cluster.worker()
        ids = server.register(
            write_lonas(folder / "checkpoint"), write_rows(folder / "rows.jsonl", count=400)
        )
        team = Silent(cluster, redis, postgres, server, coordinator, worker, ids)
        team.proxy, team.second = proxy, second
        team.rehearse()
        yield team
    finally:
        proxy.move()
        cluster.close()
        postgres.stop()
        redis.kill()
        proxy.close()


@pytest.fixture
def team(running: Silent) -> Iterator[Silent]:
    """All processes running, the database there."""
    yield running
    running.proxy.move()
    running.begin_again()
    until(lambda: running.server.client.get("/readyz").status_code == 200)
    running.forget()


class Poll:
    """A request every 100 ms, whether or not those before it were answered."""

    def __init__(self, server: Server, requests: list[Callable[[httpx2.Client], httpx2.Response]]):
        self.statuses: Counter[int] = Counter()
        self.longest = 0.0
        self.faults: list[str] = []
        self._requests = requests
        self._client = httpx2.Client(
            base_url=f"http://127.0.0.1:{server.port}",
            timeout=60,
            limits=httpx2.Limits(max_keepalive_connections=0),
            trust_env=False,
        )
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._asking: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        for each in self._asking:
            each.join()
        self._client.close()

    def _run(self) -> None:
        count = 0
        while not self._over.wait(0.1):
            request = self._requests[count % len(self._requests)]
            thread = threading.Thread(target=self._ask, args=(request,))
            thread.start()
            self._asking = [each for each in self._asking if each.is_alive()] + [thread]
            count += 1

    def _ask(self, request: Callable[[httpx2.Client], httpx2.Response]) -> None:
        begin = time.monotonic()
        try:
            answer = request(self._client)
            status, fault = answer.status_code, answer.text
        except httpx2.TransportError as error:
            status, fault = 0, repr(error)
        with self._lock:
            self.statuses[status] += 1
            self.longest = max(self.longest, time.monotonic() - begin)
            if status in (0, 500):
                self.faults.append(fault)


def representative(team: Silent) -> list[Callable[[httpx2.Client], httpx2.Response]]:
    """One request of each kind: lists, single resources, what reads much, what writes."""
    search, (supernet, dataset) = team.search, team.ids
    body = {"supernet_id": supernet, "dataset_id": dataset, "budget": {"evaluations": 1}}
    return [
        lambda client: client.get(f"/v1/searches/{search}"),
        lambda client: client.get(f"/v1/searches/{search}/front"),
        lambda client: client.get("/v1/searches"),
        lambda client: client.get(f"/v1/searches/{search}/evaluations"),
        lambda client: client.get(f"/v1/supernets/{supernet}/space"),
        lambda client: client.get("/v1/workers"),
        lambda client: client.get("/readyz"),
        lambda client: client.get(f"/v1/searches/{search}/plots/front"),
        # Each is refused after a look at the database, so that nothing is left behind.
        lambda client: client.post("/v1/searches", json={**body, "dataset_id": "none"}),
        lambda client: client.post(f"/v1/searches/{search}/resume"),
        lambda client: client.delete(f"/v1/supernets/{supernet}"),
        lambda client: client.get(f"/v1/searches/{search}/subnets/9999/weights"),
    ]


def test_the_search_goes_on_by_itself_when_the_database_comes_back_elsewhere(team: Silent):
    team.begin()
    team.reach(10)
    team.proxy.freeze()
    time.sleep(SILENCE_SECONDS)
    team.proxy.move()
    came_back = time.monotonic()
    until(lambda: team.server.client.get(f"/v1/searches/{team.search}").status_code == 200)
    before = team.progress()["completed"]
    team.reach(min(60, before + 5))
    took = time.monotonic() - came_back
    print(f"\nthe search went on {took:.1f} s after the database's return")
    assert took < BACK_SECONDS
    assert len(team.drivers()) <= 1
    team.assert_undisturbed()
    assert "Traceback" not in team.cluster.logs()


def test_every_process_ends_when_it_is_told_to_during_the_silence(team: Silent):
    team.begin()
    team.reach(5)
    team.proxy.freeze()
    time.sleep(3)
    poll = Poll(team.server, representative(team))
    time.sleep(2)
    ends: dict[str, float] = {}
    statuses: dict[str, int] = {}

    def stop(name: str, process: Server | Process) -> None:
        begin = time.monotonic()
        with contextlib.suppress(Exception):
            statuses[name] = process.stop()
        ends[name] = time.monotonic() - begin

    told: dict[str, Server | Process] = {each.name: each for each in team.processes()}
    told["server"] = team.server
    threads = [threading.Thread(target=stop, args=each) for each in told.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    poll.stop()
    print("\nended after", {name: round(seconds, 1) for name, seconds in ends.items()}, statuses)
    assert set(statuses) == set(told), team.cluster.logs()
    assert max(ends.values()) < LONGEST_STOP_SECONDS
    assert {statuses[each.name] for each in (team.coordinator, team.second)} == {0}
    team.proxy.move()
    team.begin_again()
    team.assert_undisturbed()


def test_requests_are_answered_while_the_database_restarts_freezes_and_turns_read_only(
    team: Silent,
):
    team.begin(budget={"evaluations": 60})
    team.reach(5)
    poll = Poll(team.server, representative(team))
    try:
        for trouble in (restart, freeze, read_only):
            before = poll.statuses.copy()
            trouble(team)
            until(lambda: team.server.client.get("/readyz").status_code == 200, BACK_SECONDS)
            print(f"\n{trouble.__name__}: {poll.statuses - before}, longest {poll.longest:.2f} s")
    finally:
        poll.stop()
    assert poll.faults == []
    assert poll.statuses[503] > 0
    assert poll.longest < LONGEST_REQUEST_SECONDS
    team.assert_undisturbed()


def restart(team: Silent) -> None:
    team.postgres.stop()
    time.sleep(3)
    team.postgres.start()


def freeze(team: Silent) -> None:
    team.proxy.freeze()
    time.sleep(15)
    team.proxy.move()


def read_only(team: Silent) -> None:
    """What a failover to a standby, or an operator, does; the results that come meanwhile wait."""
    with psycopg.connect(team.postgres.url.replace("+psycopg", ""), autocommit=True) as connection:
        for value in ("on", "off"):
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
            connection.execute("SELECT pg_reload_conf()")
            if value == "on":
                time.sleep(10)


def test_a_coordinator_that_hangs_stops_saying_that_it_is_alive(team: Silent, tmp_path: Path):
    alive = tmp_path / "alive"
    command = ["-m", "elasticnas.cli.main", "coordinate", "--data-dir", str(team.cluster.data_dir)]
    environment = {**team.cluster.backing, "ELASTICNAS_ALIVE_FILE": str(alive)}
    third = Process("alive", command, "coordinating", tmp_path, **environment).start()
    try:
        until(alive.exists)
        team.proxy.freeze()
        time.sleep(35)  # it may have said so just before it would not have any more
        before = alive.stat().st_mtime
        time.sleep(12)
        assert alive.stat().st_mtime == before
        team.proxy.move()
        until(lambda: alive.stat().st_mtime > before)
    finally:
        third.signal(signal.SIGCONT)
        assert third.stop() == 0
