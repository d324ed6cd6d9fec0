"""Which processes may have a SQLite database open together.

A server with its queue in memory drives every search by itself: two of them on one database would
take each other's searches and wait for each other's transactions. Such a server has its database
alone. Processes whose queue is in Redis share one, each search under a lease. PostgreSQL is looked
after alike, by its own locks.

The system drops a lock when the process ends, however it ends: kill -9 leaves no lock behind.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import psutil
from sqlalchemy import NullPool, create_engine, make_url, text

from elasticnas.api_schemas.problems import InputError
from elasticnas.service.settings import SQLITE_FILE, ServiceSettings

log = logging.getLogger(__name__)

REMEDY = (
    "stop it, or choose another with --{option}; several processes share a database when all of "
    "them have their queue in Redis"
)
SUFFIX = ".lock"
SETTLING_SECONDS = 0.5
"""For how long a lock is tried: a process that will share it has it alone for a moment first."""
POSTGRESQL_KEY = 0x656C6174
"""Key of the advisory lock that a server with its queue in memory holds."""


@dataclass(frozen=True)
class Holder:
    """A process that has a database open: its id, its host, since when, and where it answers."""

    pid: int
    host: str
    since: str
    address: str | None

    def __str__(self) -> str:
        where = "" if self.host == socket.gethostname() else f" on {self.host}"
        answers = "" if self.address is None else f", which answers at {self.address}"
        return f"process {self.pid}{where} since {self.since}{answers}"


@contextlib.contextmanager
def database_held(settings: ServiceSettings, address: str | None = None) -> Iterator[None]:
    """Hold the database while the block lasts: alone with a queue in memory, else with others.

    ``address`` is where this process answers, for the message that another one will show.

    Raises:
        InputError: other processes have the database, and it cannot be shared with them.
        OSError: the file beside the database that carries the lock cannot be opened.
    """
    holder = Holder(
        os.getpid(),
        socket.gethostname(),
        datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z"),
        address,
    )
    url = make_url(settings.resolved_database_url)
    if url.get_backend_name() == "postgresql":
        with _held_on_postgresql(settings, holder):
            yield
    elif url.database in (None, "", ":memory:"):
        yield
    else:
        with _held_as_file(settings, Path(str(url.database)).absolute(), holder):
            yield


def demand_shared(data_dir: Path) -> None:
    """Refuse a data folder whose server works alone: no worker beside it would get any work.

    Raises:
        InputError: such a server has it now.
    """
    path = data_dir / f"{SQLITE_FILE}{SUFFIX}"
    with contextlib.suppress(OSError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                "the server of this folder has its queue and a worker in its own memory: "
                + (", ".join(map(str, _holders(path))) or "another process"),
                field="data_dir",
                value=data_dir.absolute(),
                remedy="start that server with --redis-url too, or name the folder of another",
            ) from None


@contextlib.contextmanager
def _held_as_file(settings: ServiceSettings, file: Path, holder: Holder) -> Iterator[None]:
    file.parent.mkdir(parents=True, exist_ok=True)
    path = file.with_name(f"{file.name}{SUFFIX}")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        if not _lock(descriptor, path, alone=settings.redis_url is None):
            raise _refused(settings, file, ", ".join(map(str, _holders(path))))
        os.write(descriptor, json.dumps(asdict(holder)).encode() + b"\n")
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path, *, alone: bool) -> bool:
    """Take the lock within `SETTLING_SECONDS`; False when others keep it.

    A process that finds no other holder begins the list of holders anew.
    """
    deadline = time.monotonic() + SETTLING_SECONDS
    while not _lock_now(descriptor, path, alone=alone):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _lock_now(descriptor: int, path: Path, *, alone: bool) -> bool:
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
        except BlockingIOError:
            if alone:
                return False
        if not alone:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a network share without locks
        log.warning(
            "%s cannot be locked (%s): take care that no other server uses it", path, error.strerror
        )
    return True


@contextlib.contextmanager
def _held_on_postgresql(settings: ServiceSettings, holder: Holder) -> Iterator[None]:
    """A lock of the connection, which lies idle. Processes that share the database keep none.

    They only look whether somebody has it alone: a lock that they kept would stay behind on the
    connections of a pooler.
    """
    url = make_url(settings.resolved_database_url)
    alone = settings.redis_url is None
    named = {"application_name": f"elasticnas {holder}"[:63], "connect_timeout": 10}
    engine = create_engine(url, poolclass=NullPool, connect_args=named)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        lock = "pg_try_advisory_lock" if alone else "pg_try_advisory_xact_lock_shared"
        if not connection.scalar(text(f"SELECT {lock}(:key)"), {"key": POSTGRESQL_KEY}):
            who = connection.scalars(
                text(
                    "SELECT application_name FROM pg_stat_activity JOIN pg_locks USING (pid) "
                    "WHERE locktype = 'advisory' AND objid = :key AND granted"
                ),
                {"key": POSTGRESQL_KEY},
            )
            names = ", ".join(name.removeprefix("elasticnas ") for name in who if name)
            raise _refused(settings, url.render_as_string(hide_password=True), names)
        if alone:
            yield
            return
    yield


def _refused(settings: ServiceSettings, database: object, holders: str) -> InputError:
    own = settings.database_url is None
    option = "data-dir" if own else "database-url"
    return InputError(
        f"this {'folder' if own else 'database'} is in use by {holders or 'another process'}",
        field=option.replace("-", "_"),
        value=settings.data_dir.absolute() if own else database,
        remedy=REMEDY.format(option=option),
    )


def _holders(path: Path) -> list[Holder]:
    """Who has written their names into the file and is still alive, as far as can be seen here."""
    found = []
    with contextlib.suppress(OSError):
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, TypeError):
                found.append(Holder(**json.loads(line)))
    here = socket.gethostname()
    return [each for each in found if each.host != here or psutil.pid_exists(each.pid)]
