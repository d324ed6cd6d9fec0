"""The one place that speaks Dramatiq: messages out to workers, results back in."""

from __future__ import annotations

import logging
from collections.abc import Callable

import dramatiq
from pydantic import ValidationError

from api_schemas.messages import (
    EvaluateSubnets,
    ExportSubnet,
    InspectSupernet,
    Message,
    Result,
    WorkerResult,
)

log = logging.getLogger(__name__)

STOP_TIMEOUT_MILLISECONDS = 30_000


class Queue:
    """The queues of one broker, as the service uses them.

    ``broker`` is built and configured by whoever composes the process; its middleware decides what
    happens to a message that a worker dies with.
    """

    def __init__(self, broker: dramatiq.Broker) -> None:
        self._broker = broker
        self._consumer: dramatiq.Worker | None = None
        for message in (InspectSupernet, EvaluateSubnets, ExportSubnet, WorkerResult):
            broker.declare_queue(message.queue)

    def send(self, message: Message) -> None:
        """Hand a message to whichever worker takes it first.

        Raises:
            dramatiq.errors.ConnectionError: the broker cannot be reached.
        """
        self._broker.enqueue(
            dramatiq.Message(
                queue_name=message.queue,
                actor_name=message.actor,
                args=(message.model_dump_json(),),
                kwargs={},
                options={},
            )
        )

    def start(self, record: Callable[[Result], None]) -> None:
        """Call ``record`` with every result, one at a time, on a thread of its own."""

        def record_result(payload: str) -> None:
            try:
                envelope = WorkerResult.model_validate_json(payload)
            except ValidationError:
                log.exception("a worker sent a result that cannot be read: %.500s", payload)
                return
            record(envelope.result)

        # A result is never retried: recording is idempotent, and what is lost is asked for again.
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

    def stop(self) -> None:
        """Finish the result being recorded, and take no more."""
        if self._consumer is not None:
            self._consumer.stop(timeout=STOP_TIMEOUT_MILLISECONDS)
            self._consumer = None
