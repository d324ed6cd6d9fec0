"""The message broker of a process: Redis where there is one, else a queue in memory."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker

from api_schemas.problems import InputError

MAINTENANCE_ALWAYS = 1_000_000
HEARTBEAT_MILLISECONDS = 30_000


def make_broker(redis_url: str | None) -> dramatiq.Broker:
    """Dramatiq's broker, without its default middleware.

    Nothing here retries or interrupts a message: actors answer every message themselves, the
    coordinator asks again for what got no answer, and an exception thrown into a thread in the
    middle of a CUDA call is not survived. On Redis every call looks for messages of dead workers
    (by default one call in a thousand does), so that they are back in the queue 30 seconds after
    the worker's last sign of life.

    Raises:
        InputError: the URL is not one of Redis.
    """
    if redis_url is None:
        return StubBroker(middleware=[])
    try:
        return RedisBroker(  # type: ignore[no-untyped-call]
            url=redis_url,
            middleware=[],
            maintenance_chance=MAINTENANCE_ALWAYS,
            heartbeat_timeout=HEARTBEAT_MILLISECONDS,
        )
    except ValueError as error:
        raise InputError(
            str(error), field="redis_url", value=redis_url, remedy="use redis://host:port/0"
        ) from error
