"""Workers that prefer the models they hold, against workers that take whatever comes.

    python -m benchmarks.affinity

Four super-networks, four workers that hold one model each, and a model takes a second to load. The
queue is a real Redis and the workers take messages as the product does (`worker.intake`); loading
and evaluating are sleeps, so that what is compared is the choosing and not this machine. Each
super-network always has work waiting: its search sends a batch for each that comes back.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from elasticnas.api_schemas.conditions import Conditions
from elasticnas.api_schemas.messages import EvaluateSubnets, SubnetToEvaluate, lane_of
from elasticnas.cli.broker import make_broker
from elasticnas.service.queue import Queue
from elasticnas.tasks import TEXT_CLASSIFICATION
from elasticnas.worker.intake import Intake
from tests.backing import RedisServer


@dataclass
class Tally:
    """What was done, by all workers together."""

    batches: int = 0
    loads: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


def batch(digest: str) -> EvaluateSubnets:
    """A message for one super-network."""
    return EvaluateSubnets(
        search_id=digest[:8],
        conditions=Conditions(
            supernet=digest,
            dataset="0" * 64,
            task=TEXT_CLASSIFICATION.name,
            max_length=128,
        ),
        subnets=(SubnetToEvaluate(number=0, subnet={}),),
    )


def work(
    url: str,
    queue: Queue,
    tally: Tally,
    over: threading.Event,
    options: argparse.Namespace,
    *,
    affinity: bool,
) -> None:
    """One worker: take, load if need be, evaluate, and let the search send its next batch."""
    broker, signals = make_broker(url)
    held: list[str] = []
    intake = Intake(
        broker,
        signals,
        held=lambda: held,
        load_seconds=lambda: options.load,
        alone=False,
        affinity=affinity,
    )
    while not over.is_set():
        taken = intake.take()
        if taken is None:
            over.wait(0.01)
            continue
        message = EvaluateSubnets.model_validate_json(taken.message.args[0])
        if message.lane not in held:
            held[:] = [message.lane]
            time.sleep(options.load)
            with tally.lock:
                tally.loads += 1
        time.sleep(options.batch * random.uniform(0.5, 1.5))
        taken.acknowledge()
        with tally.lock:
            tally.batches += 1
        queue.send(batch(message.conditions.supernet))


def measure(url: str, options: argparse.Namespace, *, affinity: bool) -> Tally:
    """Run the workers for so many seconds on an emptied queue."""
    broker, signals = make_broker(url)
    queue = Queue(broker, signals)
    digests = [f"{index:064x}"[::-1] for index in range(options.supernets)]
    for digest in digests:
        broker.flush(lane_of(digest))
        for _ in range(options.waiting):
            queue.send(batch(digest))
    tally, over = Tally(), threading.Event()
    workers = [
        threading.Thread(
            target=work,
            args=(url, queue, tally, over, options),
            kwargs={"affinity": affinity},
        )
        for _ in range(options.workers)
    ]
    for worker in workers:
        worker.start()
    time.sleep(options.seconds)
    over.set()
    for worker in workers:
        worker.join()
    return tally


def main() -> None:
    """Measure both ways and print the ratio."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--supernets", type=int, default=4)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--waiting", type=int, default=2, help="batches of each in the queue")
    parser.add_argument("--load", type=float, default=1.0, help="seconds to load a model")
    parser.add_argument("--batch", type=float, default=0.5, help="seconds a batch takes")
    parser.add_argument("--seconds", type=float, default=40.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        redis = RedisServer(Path(folder)).start()
        try:
            found = {
                affinity: measure(redis.url, options, affinity=affinity)
                for affinity in (False, True)
            }
        finally:
            redis.kill()
    for affinity, tally in found.items():
        rate = tally.batches / options.seconds
        print(f"affinity {affinity!s:5}: {rate:5.2f} batches/s, {tally.loads} loads")
    print(f"ratio: {found[True].batches / found[False].batches:.2f}")


if __name__ == "__main__":
    main()
