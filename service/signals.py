"""What service and workers tell each other beside the queue: small, short-lived, expendable.

Losing all of it costs time and nothing else: the database is the truth.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from typing import Literal, Protocol, cast

from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from redis import Redis

Halt = Literal["paused", "ended"]

PREFIX = "elasticnas"
DELIVERY_SECONDS = 3600
"""How long a delivery is remembered: redelivery takes a minute at most."""
HALT_SECONDS = 24 * 3600
LANE_SECONDS = 7 * 24 * 3600
HAND_BACK_SECONDS = 1.0
"""How often each process looks for messages of workers that died."""


class Signals(Protocol):
    """What both sides use. A delivery is one evaluation in one of the messages that carried it.

    Raises:
        redis.exceptions.ConnectionError: from any method, when Redis does not answer.
    """

    def generation(self) -> str:
        """Changes when the queue may have lost messages: it was restarted, wiped or replaced."""
        ...

    def halt(self, search_id: str, how: Halt) -> None:
        """Tell workers to begin no evaluation of this search (paused), or to drop all (ended)."""
        ...

    def release(self, search_id: str) -> None:
        """Workers may evaluate this search again."""
        ...

    def halted(self, search_id: str) -> Halt | None:
        """Whether a search is halted, and how."""
        ...

    def begin(self, delivery: str) -> int:
        """A worker begins this delivery; how often that was, this time included."""
        ...

    def finish(self, delivery: str) -> None:
        """The delivery's result is on its way: a worker that is handed it again may drop it.

        No worker has died over it: the count of `begin` starts anew.
        """
        ...

    def is_finished(self, delivery: str) -> bool:
        """Whether a worker has sent this delivery's result."""
        ...

    def open_lane(self, lane: str) -> None:
        """A message is being sent on this lane."""
        ...

    def heads(self) -> dict[str, str | None]:
        """Every lane in use, and what identifies the message at its head; None when it is empty.

        Hands messages of workers that died back to their lanes on the way.
        """
        ...


class LocalSignals:
    """For a service with its worker in the same process, on a `StubBroker`."""

    def __init__(self, broker: StubBroker) -> None:
        self._broker = broker
        self._lock = threading.Lock()
        self._halted: dict[str, Halt] = {}
        self._begun: Counter[str] = Counter()
        self._finished: set[str] = set()
        self._lanes: set[str] = set()
        self._generation = f"memory/{uuid.uuid4().hex}"

    def generation(self) -> str:
        """Always the same: the queue lives and dies with the process."""
        return self._generation

    def halt(self, search_id: str, how: Halt) -> None:
        """See `Signals.halt`."""
        self._halted[search_id] = how

    def release(self, search_id: str) -> None:
        """See `Signals.release`."""
        self._halted.pop(search_id, None)

    def halted(self, search_id: str) -> Halt | None:
        """See `Signals.halted`."""
        return self._halted.get(search_id)

    def begin(self, delivery: str) -> int:
        """See `Signals.begin`."""
        with self._lock:
            self._begun[delivery] += 1
            return self._begun[delivery]

    def finish(self, delivery: str) -> None:
        """Nothing is ever delivered twice in memory, so nothing need be remembered."""
        with self._lock:
            self._begun.pop(delivery, None)

    def is_finished(self, delivery: str) -> bool:
        """See `finish`."""
        del delivery
        return False

    def open_lane(self, lane: str) -> None:
        """See `Signals.open_lane`."""
        with self._lock:
            self._lanes.add(lane)

    def heads(self) -> dict[str, str | None]:
        """See `Signals.heads`."""
        with self._lock:
            lanes = sorted(self._lanes)
        heads: dict[str, str | None] = {}
        for lane in lanes:
            queue = self._broker.queues[lane]
            with queue.mutex:
                heads[lane] = str(hash(queue.queue[0])) if queue.queue else None
        return heads


class RedisSignals:
    """For processes that share a Redis; ``client`` must decode answers to text."""

    def __init__(self, broker: RedisBroker, client: Redis) -> None:
        self._broker = broker
        self._redis = client
        self._handed_back = 0.0

    def generation(self) -> str:
        """The server's run, and a mark that a flush wipes."""
        with self._redis.pipeline() as pipe:
            pipe.info("server")
            pipe.set(f"{PREFIX}:epoch", uuid.uuid4().hex, nx=True)
            pipe.get(f"{PREFIX}:epoch")
            info, _, epoch = pipe.execute()
        return f"{info['run_id']}/{epoch}"

    def halt(self, search_id: str, how: Halt) -> None:
        """See `Signals.halt`."""
        self._redis.set(f"{PREFIX}:halted:{search_id}", how, ex=HALT_SECONDS)

    def release(self, search_id: str) -> None:
        """See `Signals.release`."""
        self._redis.delete(f"{PREFIX}:halted:{search_id}")

    def halted(self, search_id: str) -> Halt | None:
        """See `Signals.halted`."""
        return cast("Halt | None", self._redis.get(f"{PREFIX}:halted:{search_id}"))

    def begin(self, delivery: str) -> int:
        """See `Signals.begin`."""
        with self._redis.pipeline() as pipe:
            pipe.incr(f"{PREFIX}:begun:{delivery}")
            pipe.expire(f"{PREFIX}:begun:{delivery}", DELIVERY_SECONDS)
            count: int = pipe.execute()[0]
        return count

    def finish(self, delivery: str) -> None:
        """See `Signals.finish`."""
        with self._redis.pipeline() as pipe:
            pipe.set(f"{PREFIX}:finished:{delivery}", "1", ex=DELIVERY_SECONDS)
            pipe.delete(f"{PREFIX}:begun:{delivery}")
            pipe.execute()

    def is_finished(self, delivery: str) -> bool:
        """See `Signals.is_finished`."""
        return bool(self._redis.exists(f"{PREFIX}:finished:{delivery}"))

    def open_lane(self, lane: str) -> None:
        """See `Signals.open_lane`; a lane unused for a week is forgotten."""
        seconds = int(self._redis.time()[0])
        with self._redis.pipeline() as pipe:
            pipe.zadd(f"{PREFIX}:lanes", {lane: seconds})
            pipe.zremrangebyscore(f"{PREFIX}:lanes", 0, seconds - LANE_SECONDS)
            pipe.execute()

    def heads(self) -> dict[str, str | None]:
        """See `Signals.heads`. Any command that Dramatiq sends about a queue does the handing
        back, and this one takes nothing."""
        lanes = cast("list[str]", self._redis.zrange(f"{PREFIX}:lanes", 0, -1))
        heads: dict[str, str | None] = {}
        if time.monotonic() - self._handed_back > HAND_BACK_SECONDS:
            self._handed_back = time.monotonic()
            for lane in lanes:
                self._broker.do_qsize(lane)
        with self._redis.pipeline() as pipe:
            for lane in lanes:
                pipe.lindex(f"{self._broker.namespace}:{lane}", 0)
            for lane, head in zip(lanes, pipe.execute(), strict=True):
                heads[lane] = head
        return heads
