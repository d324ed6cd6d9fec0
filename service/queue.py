"""The one place that speaks Dramatiq: messages out to workers, results back in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

import dramatiq
import redis.exceptions
from dramatiq.errors import BrokerConnectionError
from pydantic import ValidationError

from elasticnas.api_schemas.messages import (
    EvaluateSubnets,
    ExportSubnet,
    InspectSupernet,
    Message,
    Result,
    RunStep,
    WorkerResult,
)
from elasticnas.service.outage import Outage
from elasticnas.service.signals import Halt, LocalSignals, Signals

log = logging.getLogger(__name__)

STOP_SECONDS = 30.0
RETRY_SECONDS = 1.0

UNREACHABLE = (BrokerConnectionError, redis.exceptions.RedisError)


class QueueUnavailableError(Exception):
    """The message broker does not answer. Nothing was sent."""


class NotRecordedError(Exception):
    """A result could not be written down for now; it must be kept."""


class Queue:
    """The queues of one broker and the signals beside them, as the service uses them.

    ``broker`` comes configured from the code that composes the process; its middleware decides what
    happens to a message that a worker dies with.
    """

    def __init__(self, broker: dramatiq.Broker, signals: Signals) -> None:
        self._broker = broker
        self._signals = signals
        self._consumer: dramatiq.Worker | None = None
        self._stopping = threading.Event()
        self._recording = Outage(log, "writing down what workers report")
        for message in (InspectSupernet, ExportSubnet, RunStep, WorkerResult):
            broker.declare_queue(message.queue)

    # -- out ---------------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Hand a message to whichever worker takes it first.

        Raises:
            QueueUnavailableError: the broker cannot be reached.
        """
        try:
            if isinstance(message, EvaluateSubnets):
                self._broker.declare_queue(message.lane)
                self._signals.open_lane(message.lane)
            self._enqueue(message)
        except UNREACHABLE as error:
            raise QueueUnavailableError(str(error)) from error

    def generation(self) -> str:
        """Changes when messages sent before may be lost.

        Raises:
            QueueUnavailableError: the broker cannot be reached.
        """
        try:
            return self._signals.generation()
        except UNREACHABLE as error:
            raise QueueUnavailableError(str(error)) from error

    @property
    def outlives(self) -> bool:
        """Whether the queue outlives this process; one in its memory does not."""
        return not isinstance(self._signals, LocalSignals)

    def halt(self, search_id: str, how: Halt) -> None:
        """Have workers begin no evaluation of a search, or drop the ones they have begun, too.

        A broker that cannot be reached is no error: results of a search that is over are dropped.
        """
        try:
            self._signals.halt(search_id, how)
        except UNREACHABLE:
            log.warning("search %s: the workers could not be told that it is %s", search_id, how)

    def release(self, search_id: str) -> None:
        """Let workers evaluate a search again. What they declined meanwhile is sent again."""
        with suppress(*UNREACHABLE):
            self._signals.release(search_id)

    # -- in ----------------------------------------------------------------------------------

    def start(self, record: Callable[[Result], None]) -> None:
        """Call ``record`` with every result, one at a time, on a thread of its own.

        When ``record`` raises `NotRecordedError` the result is offered again until it is taken.
        """

        def record_result(payload: str) -> None:
            try:
                envelope = WorkerResult.model_validate_json(payload)
            except ValidationError:
                log.exception("a worker sent a result that cannot be read: %.500s", payload)
                return
            self._record(record, envelope)

        # Dramatiq's own retries are for errors of a message; here the database is away.
        wanted = {"max_retries": 0, "time_limit": float("inf")}
        dramatiq.Actor(
            record_result,
            broker=self._broker,
            actor_name=WorkerResult.actor,
            queue_name=WorkerResult.queue,
            priority=0,
            options={k: v for k, v in wanted.items() if k in self._broker.actor_options},
        )
        self._consumer = dramatiq.Worker(
            self._broker, queues={WorkerResult.queue}, worker_threads=1, worker_timeout=50
        )
        self._consumer.start()

    @property
    def is_recording(self) -> bool:
        """True while the threads that take results live."""
        if (consumer := self._consumer) is None:
            return False
        return all(each.is_alive() for each in (*consumer.workers, *consumer.consumers.values()))

    def stop(self, within: float = STOP_SECONDS) -> None:
        """Finish the result being recorded, and take no more.

        One that takes longer than ``within`` seconds is not waited for; it is not acknowledged, so
        the broker hands it to the next process that listens.
        """
        self._stopping.set()
        if self._consumer is not None:
            self._consumer.stop(timeout=round(within * 1000))
            self._consumer = None

    def _record(self, record: Callable[[Result], None], envelope: WorkerResult) -> None:
        """Record until it works; at a stop, put the result back for the next process."""
        while True:
            try:
                record(envelope.result)
            except NotRecordedError as error:
                self._recording.goes_on(error)
            else:
                return self._recording.is_over()
            if self._stopping.wait(RETRY_SECONDS):
                return self._enqueue(envelope)

    def _enqueue(self, message: Message) -> None:
        self._broker.enqueue(
            dramatiq.Message(
                queue_name=message.lane,
                actor_name=message.actor,
                args=(message.model_dump_json(),),
                kwargs={},
                options={},
            )
        )
