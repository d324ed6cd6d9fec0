"""The message broker of a process: Redis where there is one, else a queue in memory."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from redis import Redis

from api_schemas.problems import InputError
from cli.configuration import masked
from service.signals import LocalSignals, RedisSignals, Signals

MAINTENANCE_ALWAYS = 1_000_000


def make_broker(
    redis_url: str | None, *, silence_seconds: float = 30.0
) -> tuple[dramatiq.Broker, Signals]:
    """Dramatiq's broker, without its default middleware, and the signals that go beside it.

    Nothing here retries or interrupts a message: actors answer every message themselves, the
    coordinator asks again for what got no answer, and an exception thrown into a thread in the
    middle of a CUDA call is not survived. On Redis every call looks for messages of dead workers
    (by default one call in a thousand does), so that they are back in the queue
    ``silence_seconds`` after the worker's last sign of life.

    Raises:
        InputError: the URL is not one of Redis.
    """
    if redis_url is None:
        broker = StubBroker(middleware=[])
        return broker, LocalSignals(broker)
    try:
        on_redis = RedisBroker(  # type: ignore[no-untyped-call]
            url=redis_url,
            middleware=[],
            maintenance_chance=MAINTENANCE_ALWAYS,
            heartbeat_timeout=round(silence_seconds * 1000),
        )
        return on_redis, RedisSignals(on_redis, Redis.from_url(redis_url, decode_responses=True))
    except ValueError as error:
        raise InputError(
            str(error), field="redis_url", value=masked(redis_url), remedy="use redis://host:port/0"
        ) from error
