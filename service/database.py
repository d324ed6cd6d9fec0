"""The database: engine, transactions, column types."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy.exc
from alembic import command
from alembic.config import Config
from sqlalchemy import (
    JSON,
    ColumnElement,
    DateTime,
    Engine,
    MetaData,
    create_engine,
    event,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.engine import Connection, Dialect, make_url
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.types import TypeDecorator

from elasticnas.service.postgresql import Guard, Limits, open_engine
from elasticnas.service.stored_json import read_json

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MILLISECONDS = 5_000
"""How long a writer waits while another process has SQLite's lock; a request is then told to come
back."""
WRITERS_SECONDS = 30.0
"""How long a writer waits for the other threads of this process: a step of a search may compute."""
AT_COMMIT = "at_commit"
"""Where a session keeps what is to be done as it ends."""
MIGRATION_LOCK = 0x656C6173
"""Key of the PostgreSQL advisory lock that keeps two processes from migrating at once."""
MIGRATION_SECONDS = 3600.0
"""How long a step of a migration may take, or another process's migration."""


def now() -> datetime:
    """The current time in UTC."""
    return datetime.now(UTC)


def at_commit(session: Session, work: Callable[[Session], None]) -> None:
    """Do a last thing in a `Database.write` block, as it ends without an error."""
    session.info.setdefault(AT_COMMIT, []).append(work)


def clock(session: Session) -> datetime:
    """The database's clock, which is the same for all processes that share the database."""
    if _has_clock(session):
        return session.scalars(select(func.clock_timestamp(type_=UtcDateTime()))).one()
    return now()  # all processes that share a SQLite file are on one machine


def clock_in_sql(session: Session) -> ColumnElement[datetime]:
    """What `clock` tells, as an expression: of the moment when the statement comes, and so the
    same for all rows that it changes."""
    if _has_clock(session):
        return func.statement_timestamp(type_=UtcDateTime())
    return literal(now(), UtcDateTime())


def _has_clock(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, always in UTC and always with its time zone, on every database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """Refuse naive datetimes, which would be read back as something else."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a time zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        """SQLite forgets the zone, PostgreSQL answers in the session's: make both UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Table(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - read once by SQLAlchemy
        datetime: UtcDateTime,
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
    }


class Database:
    """Sessions on one database, in two kinds: for reading, and for writing.

    On PostgreSQL they keep to ``limits``, those of requests unless told otherwise. `patient` is
    the same database for transactions in which much is computed, within ``patience``.
    """

    def __init__(
        self, url: str, limits: Limits | None = None, patience: Limits | None = None
    ) -> None:
        self._guard: Guard | None = None
        self._is_sqlite = url.startswith("sqlite")
        self._writers = threading.RLock()
        self.patient = self
        if self._is_sqlite:
            self.engine = _sqlite(url)
        else:
            self.engine, self._guard = open_engine(url, limits or Limits.of_requests())
            if limits is None or patience is not None:
                self.patient = Database(url, patience or Limits.of_work())
        self._writing = self.engine.execution_options(writes=True)
        self._reading = self.engine
        if self.engine.dialect.name == "postgresql":
            # Each statement sees what is committed either way; this saves BEGIN and ROLLBACK.
            self._reading = self.engine.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session whose changes are never committed."""
        with self._block(), Session(self._reading, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self, patience: float | None = None) -> Iterator[Session]:
        """One transaction: committed at the end of the block, rolled back when it raises.

        With ``patience``, each of its statements may take this many seconds, and so may the
        work between two of them; locks are waited for as ever.
        """
        with (
            self._turn(),
            self._block(patience),
            Session(self._writing, expire_on_commit=False) as session,
            session.begin(),
        ):
            if patience is not None:
                self._allow(session.connection(), patience)
            yield session
            for work in session.info.pop(AT_COMMIT, ()):
                work(session)

    def migrate(self, revision: str = "head") -> None:
        """Bring the schema up to date, or up to an earlier revision."""
        if self.patient is not self:
            return self.patient.migrate(revision)
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        with (
            self._block(MIGRATION_SECONDS),
            self._writing.connect() as connection,
            _tables_may_be_replaced(connection),
            connection.begin(),
        ):
            self._allow(connection, MIGRATION_SECONDS)
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK}
                )
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        return None

    def _allow(self, connection: Connection, seconds: float) -> None:
        """Have the server wait this long in this transaction."""
        if connection.dialect.name == "postgresql":
            for limit in ("statement", "idle_in_transaction_session"):
                connection.execute(text(f"SET LOCAL {limit}_timeout = '{seconds:.0f}s'"))

    def check(self) -> None:
        """Raise when the database does not answer."""
        with self._block(), self.engine.connect() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """Give back all connections."""
        self.engine.dispose()
        if self.patient is not self:
            self.patient.close()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let the threads of this process write to SQLite one after the other.

        They wait longer for each other than for another process, which may hold the lock for ever.
        """
        if not self._is_sqlite:
            yield
            return
        if not self._writers.acquire(timeout=WRITERS_SECONDS):
            raise sqlalchemy.exc.TimeoutError("other threads are writing to the database")
        try:
            yield
        finally:
            self._writers.release()

    @contextmanager
    def _block(self, patience: float | None = None) -> Iterator[None]:
        if self._guard is None:
            yield
            return
        waiting = nullcontext() if patience is None else self._guard.patience(patience)
        with self._guard.block(), waiting:
            yield


@contextmanager
def _tables_may_be_replaced(connection: Connection) -> Iterator[None]:
    """Have SQLite follow no reference: it changes a table by copying it, and a deletion of the old
    one would delete the rows that refer to it (https://sqlite.org/lang_altertable.html#otheralter).

    SQLite listens to this between transactions alone.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        driver.execute("PRAGMA foreign_keys = ON")


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _sqlite(url: str) -> Engine:
    """SQLite in WAL mode, where readers never wait, and writers take the lock as they begin.

    A transaction that reads first and writes later cannot be upgraded while another writes, and
    fails at once, without regard to the busy timeout; BEGIN IMMEDIATE waits its turn instead.
    """
    if (path := make_url(url).database) is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, json_deserializer=read_json)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver begins no transaction behind our back
        # SQLite's own knows the letters of ASCII alone.
        connection.create_function("lower", 1, _lower, deterministic=True)
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MILLISECONDS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")  # a commit survives a power cut too
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
