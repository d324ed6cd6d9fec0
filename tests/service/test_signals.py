"""Signals in memory and in a real Redis."""

from __future__ import annotations

import time
from collections.abc import Callable

import dramatiq
import pytest
from dramatiq.brokers.redis import RedisBroker
from dramatiq.brokers.stub import StubBroker
from redis import Redis

from elasticnas.api_schemas.conditions import Conditions
from elasticnas.api_schemas.messages import EvaluateSubnets, SubnetToEvaluate
from elasticnas.service.queue import Queue, QueueUnavailableError
from elasticnas.service.signals import LocalSignals, RedisSignals, Signals
from elasticnas.tasks import TEXT_CLASSIFICATION
from tests.backing import RedisServer

Pair = tuple[dramatiq.Broker, Signals]


def on_redis(server: RedisServer, silence_seconds: float = 60) -> Pair:
    broker = RedisBroker(
        url=server.url,
        middleware=[],
        maintenance_chance=1_000_000,
        heartbeat_timeout=round(1000 * silence_seconds),
    )
    return broker, RedisSignals(broker, Redis.from_url(server.url, decode_responses=True))


@pytest.fixture(params=["memory", "redis"])
def pair(request: pytest.FixtureRequest) -> Pair:
    if request.param == "memory":
        broker = StubBroker(middleware=[])
        return broker, LocalSignals(broker)
    return on_redis(request.getfixturevalue("redis_server"))


def batch(digest: str = "a" * 64, *numbers: int) -> EvaluateSubnets:
    return EvaluateSubnets(
        search_id="search-1",
        conditions=Conditions(
            supernet=digest,
            dataset="b" * 64,
            task=TEXT_CLASSIFICATION.name,
            max_length=8,
        ),
        subnets=tuple(SubnetToEvaluate(number=n, subnet={}) for n in numbers or (0,)),
    )


def test_a_halt_holds_until_it_is_released(pair: Pair):
    signals = pair[1]
    assert signals.halted("s") is None
    signals.halt("s", "paused")
    assert signals.halted("s") == "paused"
    signals.halt("s", "ended")
    assert signals.halted("s") == "ended"
    assert signals.halted("other") is None
    signals.release("s")
    assert signals.halted("s") is None


def test_a_delivery_is_counted_each_time_it_is_begun(pair: Pair):
    signals = pair[1]
    assert [signals.begin("s/1/1") for _ in range(3)] == [1, 2, 3]
    assert signals.begin("s/1/2") == 1


def test_a_delivery_that_was_finished_is_counted_anew(pair: Pair):
    """What is counted are the workers that died over it."""
    signals = pair[1]
    for _ in range(5):
        assert signals.begin("s/1/1") == 1
        signals.finish("s/1/1")
    assert [signals.begin("s/1/1") for _ in range(2)] == [1, 2]


def test_a_lane_shows_its_head_until_that_is_taken(pair: Pair):
    broker, signals = pair
    queue = Queue(broker, signals)
    assert signals.heads() == {}
    queue.send(batch())
    queue.send(batch())
    lane = batch().lane
    first = signals.heads()[lane]
    assert first is not None
    consumer = broker.consume(lane, prefetch=1, timeout=10)
    assert next(consumer) is not None
    assert signals.heads()[lane] not in (None, first)


def test_a_message_of_a_worker_that_died_is_back_in_its_lane(redis_server: RedisServer):
    broker, signals = on_redis(redis_server, silence_seconds=0.2)
    Queue(broker, signals).send(batch())
    lane = batch().lane
    dying, _ = on_redis(redis_server)
    assert next(dying.consume(lane, prefetch=1, timeout=10)) is not None
    assert signals.heads()[lane] is None
    wait_until(lambda: signals.heads()[lane] is not None)


def test_what_a_worker_finished_is_remembered_for_others(redis_server: RedisServer):
    signals = on_redis(redis_server)[1]
    assert not signals.is_finished("s/1/1")
    signals.finish("s/1/1")
    assert on_redis(redis_server)[1].is_finished("s/1/1")


@pytest.mark.parametrize("loss", ["flush", "restart"])
def test_the_generation_changes_when_messages_may_be_lost(redis_server: RedisServer, loss: str):
    signals = on_redis(redis_server)[1]
    before = signals.generation()
    assert signals.generation() == before
    if loss == "flush":
        Redis.from_url(redis_server.url).flushall()
    else:
        redis_server.kill()
        redis_server.start()
    assert signals.generation() != before


def test_a_broker_that_is_away_is_said_to_be(redis_server: RedisServer):
    queue = Queue(*on_redis(redis_server))
    redis_server.kill()
    for call in (queue.generation, lambda: queue.send(batch())):
        with pytest.raises(QueueUnavailableError):
            call()
    queue.halt("s", "ended")  # best effort
    queue.release("s")


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
