"""How the message broker says that it cannot be reached."""

from __future__ import annotations

import redis.exceptions
from dramatiq.errors import BrokerConnectionError

BROKER_ERRORS = (BrokerConnectionError, redis.exceptions.RedisError)
