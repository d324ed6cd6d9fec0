"""Whatever is lost while a search runs, it ends as if nothing had happened.

Real processes and real kills, on a private PostgreSQL and a private Redis. Each test ends with the
same claim: every evaluation is recorded exactly once, the search completes, and its evaluations and
front are those of an undisturbed run with the same seed.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.backing import PostgresServer, RedisServer
from tests.end_to_end.cluster import SILENCE_SECONDS, Cluster, Process, essence, until
from tests.end_to_end.server import Server, write_rows
from tests.supernet.test_reader import write_lonas

EVALUATIONS = 60
REQUEST: dict[str, Any] = {
    "budget": {"evaluations": EVALUATIONS},
    "strategy": {"name": "nsga2", "population_size": 16},
    "seed": 11,
    "max_length": 32,
}


@dataclass
class Team:
    """A running cluster, a super-network and a dataset, and what an undisturbed search finds."""

    cluster: Cluster
    redis: RedisServer
    postgres: PostgresServer
    server: Server
    coordinator: Process
    worker: Process
    ids: tuple[str, str]
    undisturbed: Any = None
    search: str = field(default="")

    def begin(self, **request: Any) -> None:
        """Start a search that finds nothing measured before."""
        self.search = self.server.search(*self.ids, **(REQUEST | request))

    def reach(self, completed: int) -> None:
        """Wait until so many evaluations are recorded."""
        until(lambda: self.progress()["completed"] >= completed, says=self.cluster.logs())

    def progress(self) -> dict[str, Any]:
        return dict(self.server.read(self.search)["progress"])

    def finish(self) -> dict[str, Any]:
        """Wait until the search is over, and forget what it measured."""
        end = self.server.finish(self.search)
        assert end["state"] == "completed", (end, self.cluster.logs())
        return end

    def assert_undisturbed(self) -> None:
        """The claim of this module."""
        end = self.finish()
        evaluations = self.server.evaluations(self.search)
        assert [e["number"] for e in evaluations] == list(range(EVALUATIONS))
        assert {e["state"] for e in evaluations} == {"completed"}
        assert end["progress"]["completed"] == EVALUATIONS
        assert end["progress"]["failed"] == end["progress"]["running"] == 0
        assert essence(self.server, self.search) == self.undisturbed

    def rehearse(self) -> None:
        """Do the search once with nothing in its way, to compare others with."""
        self.begin()
        self.finish()
        self.undisturbed = essence(self.server, self.search)
        self.forget()

    def forget(self) -> None:
        """Delete the search, so that nothing of it is answered from the database."""
        if self.search:
            self.server.client.post(f"/v1/searches/{self.search}/cancel")
            answer = self.server.client.delete(f"/v1/searches/{self.search}")
            assert answer.status_code == 204, answer.text
            self.search = ""


@pytest.fixture(scope="module")
def running_team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """Started once for the module: processes are dear."""
    folder = tmp_path_factory.mktemp("team")
    redis = RedisServer(folder).start()
    postgres = PostgresServer(folder).start()
    cluster = Cluster(folder, postgres.url, redis.url)
    try:
        server = cluster.server()
        coordinator, worker = cluster.coordinator(), cluster.worker()
        checkpoint = write_lonas(folder / "checkpoint")
        ids = server.register(checkpoint, write_rows(folder / "rows.jsonl", count=400))
        team = Team(cluster, redis, postgres, server, coordinator, worker, ids)
        team.rehearse()
        yield team
    finally:
        cluster.close()
        postgres.stop()
        redis.kill()


@pytest.fixture
def team(running_team: Team) -> Iterator[Team]:
    """The cluster, with one server, one coordinator and one worker running."""
    yield running_team
    if not running_team.coordinator.is_running:
        running_team.coordinator.start()
    if not running_team.worker.is_running:
        running_team.worker.start()
    running_team.forget()


def test_a_worker_is_killed_in_the_middle_of_an_evaluation(team: Team):
    team.begin()
    team.reach(10)
    until(lambda: team.progress()["running"])
    team.worker.kill()
    team.worker.start()
    team.assert_undisturbed()


def test_the_coordinator_is_killed_and_another_takes_over(team: Team):
    team.begin()
    team.reach(10)
    team.coordinator.kill()
    second = team.cluster.coordinator()
    team.assert_undisturbed()
    assert second.stop() == 0


def test_the_server_is_killed(team: Team):
    team.begin()
    team.reach(10)
    team.server.kill()
    time.sleep(1)
    team.server.start()
    assert team.progress()["completed"] > 10
    team.assert_undisturbed()


def test_redis_is_killed_and_comes_back_empty(team: Team):
    team.begin()
    team.reach(10)
    team.redis.kill()
    before = team.progress()["completed"]
    time.sleep(1)
    team.redis.start()
    start = time.monotonic()
    team.reach(min(EVALUATIONS, before + 10))
    assert time.monotonic() - start < 20  # seconds, not a lease
    team.assert_undisturbed()


def test_postgresql_is_restarted(team: Team):
    team.begin()
    team.reach(10)
    team.postgres.stop()
    time.sleep(2)
    team.postgres.start()
    team.assert_undisturbed()


@pytest.mark.slow
def test_a_worker_is_cut_off_for_longer_than_its_lease_and_comes_back(team: Team):
    team.begin()
    team.reach(10)
    until(lambda: team.progress()["running"])
    team.worker.signal(signal.SIGSTOP)
    second = team.cluster.worker()
    try:
        time.sleep(SILENCE_SECONDS + 2)
        team.reach(20)  # the other worker was handed what the first one was at
        team.worker.signal(signal.SIGCONT)
        team.assert_undisturbed()
    finally:
        team.worker.signal(signal.SIGCONT)
        assert second.stop() == 0


@pytest.mark.slow
def test_every_process_is_restarted_in_turn_under_load(team: Team):
    """What a rolling restart does: another is there before one is told to stop."""
    second = team.cluster.server()
    team.begin()
    clients = Clients([team.server, second], f"/v1/searches/{team.search}")
    try:
        team.reach(5)
        for server in (team.server, second):
            assert server.stop() == 0
            server.start()
        coordinator, worker = team.cluster.coordinator(), team.cluster.worker()
        assert team.coordinator.stop() == 0
        assert team.worker.stop() == 0
        team.coordinator, team.worker = coordinator, worker
        team.assert_undisturbed()
        assert {e["attempt"] for e in team.server.evaluations(team.search)} == {1}
    finally:
        answered = clients.stop()
        assert second.stop() == 0
    assert clients.lost == []
    assert answered > 50


class Clients:
    """Requests without a pause, each to the next server when one does not take connections."""

    def __init__(self, servers: list[Server], path: str) -> None:
        self._urls = [f"http://127.0.0.1:{server.port}{path}" for server in servers]
        self._over = threading.Event()
        self._answered = 0
        self.lost: list[str] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(2)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> int:
        """How many requests were answered."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        return self._answered

    def _ask(self) -> None:
        each_its_own = httpx2.Limits(max_keepalive_connections=0)
        client = httpx2.Client(timeout=30, limits=each_its_own, trust_env=False)
        while not self._over.wait(0.02):
            for url in self._urls:
                try:
                    answer = client.get(url)
                except httpx2.ConnectError:
                    continue  # a load balancer asks the next one
                except httpx2.TransportError as error:
                    self.lost.append(repr(error))
                else:
                    self._answered += 1
                    if answer.status_code != 200:
                        self.lost.append(answer.text)
                break


@pytest.mark.slow
def test_cancelling_frees_the_worker_within_two_seconds(team: Team):
    assert team.worker.stop() == 0
    in_small_batches = team.cluster.worker(ELASTICNAS_WORKER_TOKEN_BUDGET="64")
    rows = write_rows(team.cluster.folder / "many.jsonl", count=8_000)
    supernet, dataset = team.server.register(team.cluster.folder / "checkpoint", rows)
    try:
        slow = team.server.search(supernet, dataset, **REQUEST)
        until(lambda: team.server.read(slow)["progress"]["completed"])
        assert team.server.evaluations(slow)[0]["duration_seconds"] > 1  # or there is no need
        until(lambda: team.server.read(slow)["progress"]["running"])
        time.sleep(0.5)
        start = time.monotonic()
        answer = team.server.client.post(f"/v1/searches/{slow}/cancel")
        assert answer.json()["state"] == "cancelled"
        team.search = team.server.search(supernet, team.ids[1], **REQUEST)
        until(lambda: team.progress()["completed"])
        assert time.monotonic() - start < 2
        assert team.server.client.delete(f"/v1/searches/{slow}").status_code == 204
    finally:
        assert in_small_batches.stop() == 0


@pytest.mark.slow
def test_a_subnet_that_kills_its_worker_fails_alone_with_its_traceback(team: Team):
    space = team.server.client.get(f"/v1/supernets/{team.ids[0]}/space").json()["dimensions"]
    smallest = [{d["name"]: d["choices"][-1]} for d in space[:2]]
    assert team.worker.stop() == 0
    script = Path(__file__).parent / "poisoned_worker.py"
    poisoned = team.cluster.worker(script, POISON=json.dumps(smallest[0]))
    stop_supervising = team.cluster.supervise(poisoned)
    try:
        team.begin(initial_subnets=[{}, *smallest], budget={"evaluations": 3})
        end = team.finish()
    finally:
        stop_supervising()
        assert poisoned.stop() == 0
    assert (end["progress"]["completed"], end["progress"]["failed"]) == (2, 1)
    failed = team.server.evaluations(team.search)[1]
    assert failed["error"]["type"] == "/problems/evaluation-failed"
    assert "SIGSEGV" in failed["error"]["detail"]
    assert "in activate" in failed["error"]["traceback"]


@pytest.mark.slow
def test_a_subnet_that_hangs_fails_alone_after_its_time_limit(team: Team):
    """Two workers are ended over it, and a process of its own is killed."""
    space = team.server.client.get(f"/v1/supernets/{team.ids[0]}/space").json()["dimensions"]
    smallest = [{d["name"]: d["choices"][-1]} for d in space[:2]]
    assert team.worker.stop() == 0
    script = Path(__file__).parent / "poisoned_worker.py"
    hanging = team.cluster.worker(
        script,
        POISON=json.dumps(smallest[0]),
        POISON_HANGS="1",
        ELASTICNAS_WORKER_EVALUATION_TIMEOUT_SECONDS="15",
        ELASTICNAS_WORKER_HEARTBEAT_SECONDS="1",
    )
    stop_supervising = team.cluster.supervise(hanging)
    try:
        team.begin(initial_subnets=[{}, *smallest], budget={"evaluations": 3})
        until(
            lambda: team.server.read(team.search)["state"] == "completed",
            timeout=900,
            says=team.cluster.logs(),
        )
    finally:
        stop_supervising()
        assert hanging.stop() == 0
    progress = team.progress()
    assert (progress["completed"], progress["failed"]) == (2, 1)
    failed = team.server.evaluations(team.search)[1]
    assert failed["error"]["type"] == "/problems/evaluation-timeout"
    assert "in activate" in failed["error"]["traceback"]
    assert "workers died over {" in hanging.log()
