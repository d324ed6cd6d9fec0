"""What a worker sends back to the service."""

from __future__ import annotations

import logging
import threading

import dramatiq

from elasticnas.api_schemas.messages import Result, WorkerResult
from elasticnas.worker.broker_errors import BROKER_ERRORS

log = logging.getLogger(__name__)

RESEND_SECONDS = 1.0


class ShuttingDownError(Exception):
    """The worker must stop and the broker does not answer: the message in hand is given up."""


class Outbox:
    """The queue of results; any thread may send."""

    def __init__(self, broker: dramatiq.Broker, stopping: threading.Event) -> None:
        self._broker = broker
        self._stopping = stopping
        broker.declare_queue(WorkerResult.queue)

    def send(self, result: Result) -> None:
        """Put a result on the queue back to the service, however long that takes.

        Raises:
            ShuttingDownError: the worker is told to stop and the broker still does not answer.
        """
        message: dramatiq.Message[None] = dramatiq.Message(
            queue_name=WorkerResult.queue,
            actor_name=WorkerResult.actor,
            args=(WorkerResult(result=result).model_dump_json(),),
            kwargs={},
            options={},
        )
        while True:
            try:
                self._broker.enqueue(message)
                return
            except BROKER_ERRORS as error:
                log.warning("a result waits, the message broker does not answer: %s", error)
                if self._stopping.wait(RESEND_SECONDS):
                    raise ShuttingDownError from error
