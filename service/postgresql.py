"""PostgreSQL that may go silent: every wait for it ends, and nobody queues for one that is away.

A server can vanish without a word: its host is lost, its address moves, a proxy or a firewall stops
forwarding. The connections to it then look alive for hours. Four things together find out.

- libpq and the kernel: a time limit for connecting, TCP keepalives, ``tcp_user_timeout``. They
  notice a peer that acknowledges nothing.
- The server: it cancels a statement that runs or waits for a lock for too long, and ends a session
  that leaves a transaction open, whose locks would keep others waiting after its client is gone.
- The client: it waits only so long for each answer, then gives the connection up. This notices a
  peer that still acknowledges what it no longer forwards.
- While the server is away, one caller at a time tries to reach it, the others fail at once.

What the URL or libpq's environment says of these wins.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy.exc
from psycopg.abc import RV, PQGen
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, ExceptionContext, make_url

from elasticnas.service.stored_json import read_json

log = logging.getLogger(__name__)

REQUEST_SECONDS = 4.0
WORK_SECONDS = 30.0
TRIED_AFTER_SECONDS = 0.5
"""A connection that lay in the pool for longer is tried before it is used."""
CONNECT_SECONDS = 2
"""The least that psycopg allows."""
LEAST_SECONDS = 0.5
"""For an answer, however late in its block it is asked for."""
RETRY_SECONDS = 0.25
TRIAL_SECONDS = 5.0
"""How long the others leave it to one caller to find out whether the server is back."""
KEEPALIVE = {"idle": 10, "interval": 5, "count": 3}
UNACKNOWLEDGED_MILLISECONDS = 15_000
READ_ONLY = "25006"
ONE_TRANSACTION = ("25P03", "25P04", "40001", "40P01", "55P03", "57014")
"""SQLSTATEs of a server that gave up one transaction, as too slow or locked, and serves others."""


@dataclass(frozen=True)
class Limits:
    """How long users of an engine wait, in seconds.

    ``block`` bounds everything between the begin and the end of a `Guard.block`, ``answer`` one
    round trip, ``ping`` that of a connection which is tried; ``statement``, ``lock`` and
    ``idle_in_transaction`` are kept by the server.
    """

    block: float | None
    answer: float
    ping: float
    statement: float
    lock: float
    idle_in_transaction: float
    pool: float
    connections: tuple[int, int]
    """How many are kept open, and how many more there may be."""

    @classmethod
    def of_requests(cls, seconds: float = REQUEST_SECONDS) -> Limits:
        """The limits of a request: a client waits, so all is over a second after ``seconds``."""
        return cls(
            block=seconds,
            answer=seconds,
            ping=0.1875 * seconds,
            statement=0.875 * seconds,
            lock=0.75 * seconds,
            idle_in_transaction=max(10.0, 2 * seconds),
            pool=0.375 * seconds,
            connections=(10, 10),
        )

    @classmethod
    def of_work(cls, seconds: float = WORK_SECONDS) -> Limits:
        """For transactions in which much is computed between the statements."""
        return cls(
            block=None,
            answer=seconds + 5,
            ping=0.1 * seconds,
            statement=seconds,
            lock=seconds / 3,
            idle_in_transaction=max(45.0, 1.5 * seconds),
            pool=seconds / 3,
            connections=(5, 5),
        )


class Guard:
    """Keeps the time of the blocks of one engine, and whether its server is away.

    A block is the use of a session by one thread. Only its connections may call the rest.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._local = threading.local()
        self._lock = threading.Lock()
        self._away_since: float | None = None
        self._retry_at = 0.0

    @contextmanager
    def block(self) -> Iterator[None]:
        """Use the database until the end of the block, within its limits.

        Raises:
            sqlalchemy.exc.OperationalError: the server is away, and somebody else tries it.
        """
        self._let_through()
        with self._until(self._limits.block):
            yield

    @contextmanager
    def patience(self, seconds: float) -> Iterator[None]:
        """Let answers take this long within the block."""
        before = getattr(self._local, "answer", None)
        self._local.answer = seconds
        try:
            yield
        finally:
            self._local.answer = before

    @contextmanager
    def trial(self) -> Iterator[None]:
        """Let an answer take no longer than that of a connection which works.

        If it does, the server may well be there, and the connection alone be dead.
        """
        self._local.tries = True
        try:
            with self.patience(self._limits.ping):
                yield
        finally:
            self._local.tries = False

    def answer_seconds(self) -> float:
        """How long the current thread may wait for an answer."""
        seconds = getattr(self._local, "answer", None) or self._limits.answer
        return seconds if (left := self._left()) is None else max(LEAST_SECONDS, min(seconds, left))

    def connect_seconds(self) -> int:
        """How long the current thread may wait for a connection."""
        left = self._left()
        return max(CONNECT_SECONDS, int(TRIAL_SECONDS if left is None else left))

    def lost(self) -> None:
        """The server did not answer in time, or cannot be connected to."""
        if getattr(self._local, "tries", False):
            return
        with self._lock:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            if self._away_since is None:
                self._away_since = time.monotonic()
                log.warning("PostgreSQL does not answer")

    def answered(self) -> None:
        """The server has answered."""
        if self._away_since is None:
            return
        with self._lock:
            if self._away_since is not None:
                seconds = time.monotonic() - self._away_since
                self._away_since = None
                log.info("PostgreSQL answers again, after %.1f s", seconds)

    def _let_through(self) -> None:
        if self._away_since is None:
            return
        with self._lock:
            if self._away_since is None:
                return
            if time.monotonic() < self._retry_at:
                away = psycopg.OperationalError("the server did not answer a moment ago")
                raise sqlalchemy.exc.OperationalError(None, None, away)
            self._retry_at = time.monotonic() + TRIAL_SECONDS

    @contextmanager
    def _until(self, seconds: float | None) -> Iterator[None]:
        before: float | None = getattr(self._local, "ends", None)
        if seconds is not None and before is None:
            self._local.ends = time.monotonic() + seconds
        try:
            yield
        finally:
            self._local.ends = before

    def _left(self) -> float | None:
        ends: float | None = getattr(self._local, "ends", None)
        return None if ends is None else ends - time.monotonic()


class GuardedConnection(psycopg.Connection[Any]):
    """A connection that is closed when an answer takes longer than its guard allows."""

    guard: Guard | None = None

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Every statement, commit and rollback waits for its answer here."""
        if self.guard is None or timeout is not None:
            return super().wait(gen, interval, timeout)
        seconds = self.guard.answer_seconds()
        try:
            found = super().wait(gen, interval, seconds)
        except psycopg.errors._WaitTimeout as error:
            # What the server still does with the statement is not known: as psycopg itself does
            # when a cancelled one does not end, leave it, and the connection with it.
            self.pgconn.finish()
            self.guard.lost()
            raise psycopg.OperationalError(f"no answer within {seconds:.1f} s") from error
        self.guard.answered()
        return found


def concerns_one_transaction(error: BaseException | None) -> bool:
    """Whether the server gave up one transaction and serves the others: slow, locked, a deadlock.

    Every other error that passes concerns all who use the database.
    """
    cause = getattr(error, "orig", None)
    state = cause.sqlstate if isinstance(cause, psycopg.Error) else None
    return state is not None and state.startswith(ONE_TRANSACTION)


def open_engine(address: str, limits: Limits) -> tuple[Engine, Guard]:
    """An engine whose every wait ends, and the guard in whose blocks it is to be used.

    A connection that was cut while it lay in the pool is replaced unseen. It is tried first only
    when it lay there for a while: SQLAlchemy's own pre-ping doubles the cost of a small query that
    is made all the time.
    """
    url, guard = make_url(address), Guard(limits)
    kept, more = limits.connections
    engine = create_engine(
        url,
        pool_size=kept,
        max_overflow=more,
        pool_timeout=limits.pool,
        connect_args=connect_arguments(url, limits),
        json_deserializer=read_json,
    )
    waits_as_told = "connect_timeout" in url.query or "PGCONNECT_TIMEOUT" in os.environ

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: Any, cargs: Any, cparams: Any) -> GuardedConnection:
        parameters = dict(cparams)
        if not waits_as_told:
            parameters["connect_timeout"] = guard.connect_seconds()
        try:
            connection = GuardedConnection.connect(*cargs, **parameters)
        except psycopg.OperationalError:
            guard.lost()
            raise
        connection.guard = guard
        return connection

    @event.listens_for(engine, "checkin")
    def _rest(_connection: Any, record: Any) -> None:
        record.info["resting_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _try(connection: Any, record: Any, _proxy: Any) -> None:
        rested = time.monotonic() - record.info.get("resting_since", time.monotonic())
        if rested < TRIED_AFTER_SECONDS:
            return
        try:
            with guard.trial():
                engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sqlalchemy.exc.DisconnectionError from error

    @event.listens_for(engine, "handle_error")
    def _leave(context: ExceptionContext) -> None:
        # It was a primary once: the one that took its place is behind the same address.
        if getattr(context.original_exception, "sqlstate", None) == READ_ONLY:
            context.is_disconnect = True

    return engine, guard


def connect_arguments(url: URL, limits: Limits) -> dict[str, Any]:
    """libpq's parameters for these limits, without the ones that the URL sets itself."""
    arguments: dict[str, Any] = {
        "keepalives": 1,
        "keepalives_idle": KEEPALIVE["idle"],
        "keepalives_interval": KEEPALIVE["interval"],
        "keepalives_count": KEEPALIVE["count"],
        "tcp_user_timeout": UNACKNOWLEDGED_MILLISECONDS,
        "fallback_application_name": "elasticnas",
    }
    on_server = {
        "statement_timeout": _milliseconds(limits.statement),
        "lock_timeout": _milliseconds(limits.lock),
        "idle_in_transaction_session_timeout": _milliseconds(limits.idle_in_transaction),
        "tcp_keepalives_idle": KEEPALIVE["idle"],
        "tcp_keepalives_interval": KEEPALIVE["interval"],
        "tcp_keepalives_count": KEEPALIVE["count"],
    }
    said = url.query.get("options", os.environ.get("PGOPTIONS", ""))
    ours = [f"-c {name}={value}" for name, value in on_server.items()]
    # The server takes the last of several values.
    told = [said] if isinstance(said, str) else list(said)
    return {name: value for name, value in arguments.items() if name not in url.query} | {
        "options": " ".join([*ours, *told]).strip()
    }


def _milliseconds(seconds: float) -> int:
    return round(1000 * seconds)
