"""Which message a worker takes next."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import dramatiq
from dramatiq.broker import Consumer, MessageProxy

from elasticnas.api_schemas.messages import (
    EvaluateSubnets,
    ExportSubnet,
    InspectSupernet,
    RunStep,
    precision_of,
)
from elasticnas.api_schemas.precision import Precision
from elasticnas.worker.signals import WorkSignals

URGENT = (InspectSupernet.queue, ExportSubnet.queue)
"""Somebody waits for these: they go before any evaluation."""
STARVING_SECONDS = 10.0
FIRST_LOAD_SECONDS = 0.2
"""What loading a model is taken to cost before this worker has loaded any."""


@dataclass(frozen=True)
class Taken:
    """A message that is this worker's until it is acknowledged."""

    message: MessageProxy
    consumer: Consumer

    def acknowledge(self) -> None:
        """The message is done with."""
        self.consumer.ack(self.message)


class Intake:
    """Takes one message at a time, so that whatever this worker is not at, another can take.

    Each super-network has a lane. Lanes of models that the worker holds go first, in turn. A batch
    of another model is left to a worker that holds it for as long as loading it here would take:
    waiting longer than that cannot pay (the break-even rule of ski rental, Karlin et al. 1988,
    "Competitive Snoopy Caching"). A batch that nobody has taken for `STARVING_SECONDS`, or twice
    the loading time, goes before those of the models held.

    ``held`` gives the lanes of the models held, ``load_seconds`` the mean time that loading one
    takes, None when not known; ``alone`` says that no other worker could take a batch. Lanes of
    other than the ``precisions`` that this worker computes in are left to others, and so are the
    queues that it does not take from at the moment. A step of a job goes before evaluations.
    """

    def __init__(
        self,
        broker: dramatiq.Broker,
        signals: WorkSignals,
        *,
        held: Callable[[], Sequence[str]],
        load_seconds: Callable[[], float | None],
        alone: bool,
        affinity: bool = True,
        precisions: Collection[Precision] = tuple(Precision),
        takes: Callable[[], Collection[str]] = lambda: (*URGENT, EvaluateSubnets.queue),
    ) -> None:
        self._broker = broker
        self._signals = signals
        self._held = held
        self._load_seconds = load_seconds
        self._alone = alone
        self._affinity = affinity
        self._precisions = precisions
        self._takes = takes
        self._consumers: dict[str, Consumer] = {}
        self._first_seen: dict[str, tuple[str, float]] = {}
        self._last_lane = ""

    def take(self) -> Taken | None:
        """The next message; None when there is none, or none for this worker yet.

        Raises:
            redis.exceptions.RedisError, dramatiq.errors.BrokerConnectionError: the broker does not
                answer.
        """
        takes = self._takes()
        for lane in (*URGENT, RunStep.queue):
            if lane in takes and (taken := self._take_from(lane)) is not None:
                return taken
        if EvaluateSubnets.queue not in takes:
            return None
        for lane in self._in_order(self._waiting()):
            if (taken := self._take_from(lane)) is not None:
                self._last_lane = lane
                return taken
        return None

    def _waiting(self) -> dict[str, float]:
        """The lanes that have messages, and for how long their heads have been seen to wait."""
        now = time.monotonic()
        heads = {
            lane: head
            for lane, head in self._signals.heads().items()
            if head is not None and precision_of(lane) in self._precisions
        }
        seen = {
            lane: earlier
            if (earlier := self._first_seen.get(lane)) and earlier[0] == head
            else (head, now)
            for lane, head in heads.items()
        }
        self._first_seen = seen
        return {lane: now - since for lane, (_, since) in seen.items()}

    def _in_order(self, waiting: dict[str, float]) -> list[str]:
        """The lanes to take from, the one that should go first first."""
        rotated = sorted(waiting, key=lambda lane: (lane <= self._last_lane, lane))
        if not self._affinity:
            return rotated
        load = self._load_seconds()
        load = FIRST_LOAD_SECONDS if load is None else load
        warm = set(self._held())
        starving = [
            lane
            for lane in rotated
            if lane not in warm and waiting[lane] > max(STARVING_SECONDS, 2 * load)
        ]
        ours = [lane for lane in rotated if lane in warm]
        patience = 0.0 if self._alone else load
        cold = [
            lane
            for lane in rotated
            if lane not in warm and lane not in starving and waiting[lane] >= patience
        ]
        return starving + ours + cold

    def _take_from(self, lane: str) -> Taken | None:
        consumer = self._consumers.get(lane)
        if consumer is None:
            self._broker.declare_queue(lane)
            consumer = self._broker.consume(lane, prefetch=1, timeout=1)
            self._consumers[lane] = consumer
        message = next(consumer)
        return None if message is None else Taken(message, consumer)
