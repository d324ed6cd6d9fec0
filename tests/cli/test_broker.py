"""A Redis that goes silent is given up."""

from __future__ import annotations

import pytest

from elasticnas.api_schemas.messages import InspectSupernet
from elasticnas.cli.broker import make_broker
from elasticnas.service.queue import Queue, QueueUnavailableError
from tests.backing import RedisServer
from tests.proxy import Proxy


def test_a_silent_redis_is_unavailable_and_found_again(redis_server: RedisServer):
    proxy = Proxy(redis_server.port)
    try:
        queue = Queue(*make_broker(f"redis://127.0.0.1:{proxy.port}/0?socket_timeout=0.5"))
        generation = queue.generation()
        proxy.freeze()
        with pytest.raises(QueueUnavailableError):
            queue.generation()
        with pytest.raises(QueueUnavailableError):
            queue.send(InspectSupernet(supernet_id="s", digest="d"))
        proxy.move()
        assert queue.generation() == generation
        queue.send(InspectSupernet(supernet_id="s", digest="d"))
    finally:
        proxy.close()


def test_answers_are_not_waited_for_for_ever():
    _, signals = make_broker("redis://127.0.0.1:1/0")
    options = signals._redis.connection_pool.connection_kwargs
    assert options["socket_timeout"] == 4.0
    assert options["socket_connect_timeout"] == 2.0
    _, signals = make_broker("redis://127.0.0.1:1/0?socket_timeout=99")
    assert signals._redis.connection_pool.connection_kwargs["socket_timeout"] == 99.0
