"""What one evaluation costs Redis, PostgreSQL and a coordinator: the figures of docs/scaling.md.

Workers are played by threads of another process that answer at once, so that nothing but the
service's own path is measured: sending, taking, the signals beside the queue, results, and the rows
and transactions that they become. Rates depend on how much of the machine is free; the CPU time
of each server, as it accounts for it itself, does much less so, and tells where it saturates.

    createdb capacity
    redis-server --port 6390 --save '' &
    python -m benchmarks.capacity --redis-url redis://127.0.0.1:6390/0 \\
        --database-url postgresql+psycopg://postgres@127.0.0.1/capacity

Both must be empty, and on this machine: the CPU time of PostgreSQL's processes is read here.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dramatiq
import psutil
from redis import Redis
from sqlalchemy import func, select, text

from elasticnas.api_schemas.conditions import Conditions
from elasticnas.api_schemas.costs import Term
from elasticnas.api_schemas.messages import (
    EvaluateSubnets,
    Result,
    SubnetOutcome,
    SubnetsEvaluated,
    SubnetsStarted,
    SubnetToEvaluate,
    WorkerAlive,
    WorkerResult,
)
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.searches import Budget, EvaluationState, SearchCreate
from elasticnas.api_schemas.spaces import FFN, HEADS, RANK, Dimension
from elasticnas.api_schemas.strategies import RandomSettings
from elasticnas.api_schemas.supernets import SupernetReport, SupernetState
from elasticnas.cli.broker import make_broker
from elasticnas.search.cost_terms import Extent, attention, cost_model, linear, parameters
from elasticnas.search.space import SearchSpace
from elasticnas.service.database import now
from elasticnas.service.datasets.tables import DatasetRow
from elasticnas.service.lifecycle import close_service, open_service
from elasticnas.service.principal import DEFAULT_OWNER, Principal
from elasticnas.service.queue import Queue
from elasticnas.service.runtime import Service
from elasticnas.service.searches.creation import create
from elasticnas.service.searches.tables import EvaluationRow
from elasticnas.service.settings import ServiceSettings
from elasticnas.service.supernets.tables import SupernetRow
from elasticnas.service.supernets.views import summarise
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.worker.intake import Intake

LAYERS = 12
DIGEST = "0" * 64
BATCHES = (1, 8)
LANES = (1, 10)
SEARCHES = 8


@dataclass(frozen=True)
class Measured:
    """So many of something in so many seconds, for so many seconds of a server's CPU."""

    count: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """The rate that was reached."""
        return self.count / self.seconds

    @property
    def microseconds(self) -> float:
        """The server's CPU time for one."""
        return 1e6 * self.cpu_seconds / self.count

    def __str__(self) -> str:
        return (
            f"{self.per_second:9,.0f} /s reached, {self.microseconds:8.1f} us of server CPU each, "
            f"so {1e6 / self.microseconds:9,.0f} /s on one core"
        )


def synthetic_report() -> SupernetReport:
    """A super-network of BERT's size: heads, width and LoRA rank in each of twelve layers."""
    dimensions: list[Dimension] = []
    terms: list[Term] = []
    for layer in range(LAYERS):
        heads, width, rank = (f"layer.{layer}.{part}" for part in ("heads", "ffn.width", "rank"))
        dimensions += [
            Dimension(name=heads, part=HEADS, layer=layer, choices=(12, 9, 6)),
            Dimension(name=width, part=FFN, layer=layer, choices=(3072, 2304, 1536, 768)),
            Dimension(name=rank, part=RANK, layer=layer, choices=(8, 4, 2)),
        ]
        of_heads = Extent(full=768, dimension=heads, unit=64)
        wide, hidden = Extent(full=3072, dimension=width), Extent(full=768)
        terms += linear(of_heads, hidden, bias=True, rank=Extent(full=8, dimension=rank))
        terms += linear(wide, hidden, bias=True)
        terms.append(attention(of_heads))
    return SupernetReport(
        method="lonas",
        model_type="bert",
        num_labels=2,
        label_names=None,
        reference_length=128,
        max_positions=512,
        has_adapters=True,
        dimensions=tuple(dimensions),
        cost_model=cost_model([*terms, parameters(1536 * LAYERS + 100_000)]),
    )


# -- Redis -----------------------------------------------------------------------------------


def on_redis(redis: Redis, count: int, work: Callable[[], None]) -> Measured:
    """Run ``work``, which does ``count`` of something, and see what Redis spent on it."""
    cpu, start = redis_cpu(redis), time.perf_counter()
    work()
    return Measured(count, time.perf_counter() - start, redis_cpu(redis) - cpu)


def redis_cpu(redis: Redis) -> float:
    """CPU seconds of Redis's main thread, which executes every command."""
    info = redis.info("cpu")
    return float(info["used_cpu_user_main_thread"]) + float(info["used_cpu_sys_main_thread"])


def measure_redis(url: str, count: int) -> None:
    """Messages out, messages taken, signals, results, and the looks of idle workers."""
    redis: Redis = Redis.from_url(url)
    broker, signals = make_broker(url)
    queue = Queue(broker, signals)
    space = SearchSpace(synthetic_report().dimensions)
    for batch in BATCHES:
        item = [SubnetToEvaluate(number=n, subnet=dict(space.maximal)) for n in range(batch)]
        message = EvaluateSubnets(
            search_id="search-capacity",
            conditions=Conditions(
                supernet=DIGEST,
                dataset=DIGEST,
                task=TEXT_CLASSIFICATION.name,
                max_length=128,
            ),
            subnets=tuple(item),
        )

        def send(message: EvaluateSubnets = message) -> None:
            for _ in range(count):
                queue.send(message)

        def take() -> None:
            intake = Intake(broker, signals, held=tuple, load_seconds=lambda: 0.0, alone=True)
            for _ in range(count):
                taken = intake.take()
                assert taken is not None
                taken.acknowledge()

        print(f"messages of {batch} subnet(s) sent   {on_redis(redis, count, send)}", flush=True)
        print(f"messages of {batch} subnet(s) taken  {on_redis(redis, count, take)}", flush=True)

    def signal() -> None:
        for number in range(count):
            delivery = f"search-capacity/{number}/1"
            signals.halted("search-capacity")
            signals.is_finished(delivery)
            signals.begin(delivery)
            signals.finish(delivery)

    print(f"signals of one evaluation         {on_redis(redis, count, signal)}", flush=True)

    def answer() -> None:
        finished = threading.Event()
        counted = iter(range(1, count + 1))

        def record(_result: Result) -> None:
            if next(counted) == count:
                finished.set()

        for number in range(count):
            send_result(broker, evaluated("search-capacity", "worker", [(number, 1)]))
        receiving = Queue(make_broker(url)[0], signals)
        receiving.start(record)
        finished.wait()
        receiving.stop()

    print(f"results sent and taken            {on_redis(redis, count, answer)}", flush=True)
    for lanes in LANES:
        for number in range(lanes):
            signals.open_lane(f"evaluations.{number}")
        intake = Intake(broker, signals, held=tuple, load_seconds=lambda: 0.0, alone=True)

        def look(intake: Intake = intake) -> None:
            for _ in range(count):
                assert intake.take() is None

        print(
            f"looks at {lanes:2d} empty lane(s)        {on_redis(redis, count, look)}", flush=True
        )
    redis.flushall()


def send_result(broker: dramatiq.Broker, result: Result) -> None:
    """What a worker does with a result."""
    payload = WorkerResult(result=result).model_dump_json()
    broker.enqueue(
        dramatiq.Message(
            queue_name=WorkerResult.queue,
            actor_name=WorkerResult.actor,
            args=(payload,),
            kwargs={},
            options={},
        )
    )


def accuracy_of(number: int) -> float:
    """What looks like a model's: each number has one of its own."""
    return 0.5 + (number * 2654435761 % 4096) / 8192


def evaluated(
    search: str, worker: str, items: list[tuple[int, int]], *, seconds: float = 0.25
) -> SubnetsEvaluated:
    """Results of so many (number, attempt), each of which took so long."""
    return SubnetsEvaluated(
        search_id=search,
        worker=worker,
        outcomes=tuple(
            SubnetOutcome(
                number=number,
                attempt=attempt,
                precision=Precision.FLOAT32,
                metrics={"accuracy": accuracy_of(number)},
                started_at=datetime.now(UTC),
                duration_seconds=seconds,
            )
            for number, attempt in items
        ),
    )


# -- PostgreSQL and the coordinator -----------------------------------------------------------


def answer_at_once(url: str, workers: int, stopping: multiprocessing.synchronize.Event) -> None:
    """The workers: threads that take, signal and answer as real ones do, without a model."""

    def work(name: str) -> None:
        broker, signals = make_broker(url)
        broker.declare_queue(WorkerResult.queue)
        started = datetime.now(UTC)
        intake = Intake(broker, signals, held=tuple, load_seconds=lambda: 0.0, alone=True)
        beaten = 0.0
        while not stopping.is_set():
            if time.monotonic() - beaten > 10:
                beaten = time.monotonic()
                alive = WorkerAlive(
                    worker=name, device="none", started_at=started, evaluations=0, warm_supernets=()
                )
                send_result(broker, alive)
            if (taken := intake.take()) is None:
                time.sleep(0.01)
                continue
            message = EvaluateSubnets.model_validate_json(taken.message.args[0])
            items = [(item.number, item.attempt) for item in message.subnets]
            numbers = tuple(number for number, _ in items)
            send_result(
                broker, SubnetsStarted(search_id=message.search_id, worker=name, numbers=numbers)
            )
            for number, attempt in items:
                signals.begin(f"{message.search_id}/{number}/{attempt}")
            send_result(broker, evaluated(message.search_id, name, items))
            taken.acknowledge()

    threads = [threading.Thread(target=work, args=(f"none-{n}",)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure_database(url: str, database_url: str, workers: int, seconds: float) -> None:
    """Searches driven by one coordinator on PostgreSQL, as fast as it can."""
    context = multiprocessing.get_context("spawn")
    stopping = context.Event()
    player = context.Process(target=answer_at_once, args=(url, workers, stopping))
    with tempfile.TemporaryDirectory() as folder:
        settings = ServiceSettings(data_dir=Path(folder), database_url=database_url)
        service = open_service(settings, *make_broker(url))
        try:
            register(service)
            player.start()
            time.sleep(5)  # until the players have announced themselves
            for number in range(SEARCHES):
                create(service, Principal(DEFAULT_OWNER), search_request(number), None)
            time.sleep(5)  # until it runs as it will
            report_run(service, seconds)
        finally:
            stopping.set()
            player.join()
            close_service(service)


def register(service: Service) -> None:
    """A super-network and a dataset that no worker needs to read."""
    report = synthetic_report()
    with service.database.write() as session:
        session.add(
            SupernetRow(
                id="supernet-capacity",
                owner=DEFAULT_OWNER,
                name="capacity",
                state=SupernetState.READY,
                digest=DIGEST,
                size_bytes=1,
                created_at=now(),
                summary=summarise(report),
                report=report.model_dump(mode="json"),
            )
        )
        session.add(
            DatasetRow(
                id="dataset-capacity",
                owner=DEFAULT_OWNER,
                name="capacity",
                task=TEXT_CLASSIFICATION.name,
                metric="accuracy",
                rows=1000,
                text_columns=["sentence"],
                label_column="label",
                num_labels=2,
                digest=DIGEST,
                size_bytes=1,
                created_at=now(),
            )
        )


def search_request(number: int) -> SearchCreate:
    """A search that does not end while it is measured."""
    return SearchCreate(
        supernet_id="supernet-capacity",
        dataset_id="dataset-capacity",
        seed=number,
        strategy=RandomSettings(),
        budget=Budget(evaluations=100_000),
        parallel_evaluations=64,
    )


def report_run(service: Service, seconds: float) -> None:
    """Print what PostgreSQL and this process did over a while."""
    process = psutil.Process()
    before = counters(service), process.cpu_times(), postgres_cpu()
    start = time.perf_counter()
    time.sleep(seconds)
    after = counters(service), process.cpu_times(), postgres_cpu()
    elapsed = time.perf_counter() - start
    done, commits, wal = (b - a for a, b in zip(before[0], after[0], strict=True))
    server = Measured(done, elapsed, after[2] - before[2])
    own = sum(after[1][:2]) - sum(before[1][:2])
    print(f"evaluations, PostgreSQL's share   {server}")
    print(f"evaluations, coordinator's share  {Measured(done, elapsed, own)}")
    print(
        f"for each evaluation: {commits / done:.1f} transactions, {wal / done / 1024:.1f} KiB of "
        f"write-ahead log; {commits / elapsed:,.0f} transactions/s"
    )


def counters(service: Service) -> tuple[int, int, int]:
    """Evaluations completed, transactions committed, bytes of write-ahead log."""
    with service.database.read() as session:
        completed = select(func.count()).where(EvaluationRow.state == EvaluationState.COMPLETED)
        commits = text(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        )
        wal = text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")
        return (
            session.scalars(completed).one(),
            int(session.execute(commits).scalar_one()),
            int(session.execute(wal).scalar_one()),
        )


def postgres_cpu() -> float:
    """CPU seconds of every PostgreSQL process of this machine."""
    found = (p.cpu_times() for p in psutil.process_iter(["name"]) if p.info["name"] == "postgres")
    return sum(times.user + times.system for times in found)


def main() -> None:
    """Measure both, and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--redis-url", required=True)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30)
    given = parser.parse_args()
    if Redis.from_url(given.redis_url).dbsize():
        sys.exit("this Redis holds something: give an empty one, it is wiped")
    logging.basicConfig(level=logging.WARNING)
    measure_redis(given.redis_url, given.messages)
    measure_database(given.redis_url, given.database_url, given.workers, given.seconds)
    Redis.from_url(given.redis_url).flushall()


if __name__ == "__main__":
    main()
