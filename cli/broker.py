"""The message broker of a process: Redis where there is one, else a queue in memory."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from elasticnas.api_schemas.problems import InputError
from elasticnas.client.passwords import masked
from elasticnas.service.signals import LocalSignals, RedisSignals, Signals

MAINTENANCE_ALWAYS = 1_000_000
ANSWER_SECONDS = 4.0
"""How long Redis may take to answer; no command of ours waits for anything."""
CONNECT_SECONDS = 2.0


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
            client=_client(redis_url),
            middleware=[],
            maintenance_chance=MAINTENANCE_ALWAYS,
            heartbeat_timeout=round(silence_seconds * 1000),
        )
        return on_redis, RedisSignals(on_redis, _client(redis_url, decode_responses=True))
    except ValueError as error:
        raise InputError(
            str(error), field="redis_url", value=masked(redis_url), remedy="use redis://host:port/0"
        ) from error


def _client(redis_url: str, *, decode_responses: bool = False) -> Redis:
    """A client that gives up a Redis which went silent; what the URL says of these wins.

    A connection that was cut is replaced at once. A command that was not answered is not sent
    again: it may have been done.
    """
    return Redis.from_url(
        redis_url,
        decode_responses=decode_responses,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,)),
    )
