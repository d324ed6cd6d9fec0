"""What servers, coordinators and workers have in common: their options, how they begin and end."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from elasticnas.api_schemas.problems import InputError
from elasticnas.cli.failures import ProcessDiedError, Tracebacks
from elasticnas.cli.stopping import Deadline
from elasticnas.client.passwords import masked

if TYPE_CHECKING:
    from elasticnas.service.settings import ProcessSettings, ServiceSettings

ALIVE_SECONDS = 5.0
"""How often a process without a port looks whether its threads are alive, and says so."""

STUCK_SECONDS = 20.0
"""After so long without success, a process without a port no longer says that it is alive."""
CLOSING_SECONDS = 10.0
"""How long a process may take to end once it has no more requests in hand: two seconds for orphans,
three for results and transactions, and four for giving the searches back."""

# An option that is left out is None: then the environment or the configuration file decides.
DataDir = Annotated[
    str | None,  # of a Path, the empty name could not be told from the folder one is in
    typer.Option(
        metavar="PATH",
        help="Folder for blobs, uploads and the SQLite database [ELASTICNAS_DATA_DIR].",
        show_default="data",
    ),
]
RedisUrl = Annotated[
    str | None,
    typer.Option(help="Where the queue is, such as redis://host:6379/0 [ELASTICNAS_REDIS_URL]."),
]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        help="SQLAlchemy URL, e.g. postgresql+psycopg://user@host/name [ELASTICNAS_DATABASE_URL].",
        show_default="SQLite in the data folder",
    ),
]
SharedDatabaseUrl = Annotated[
    str | None,
    typer.Option(
        help="The servers' database: a SQLAlchemy URL, e.g. postgresql+psycopg://user@host/name "
        "[ELASTICNAS_DATABASE_URL].",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="auto, cpu, cuda, cuda:<index> or mps [ELASTICNAS_WORKER_DEVICE].",
        show_default="auto",
    ),
]
Dtype = Annotated[
    Literal["float32", "bfloat16", "float16"] | None,
    typer.Option(
        help="bfloat16 and float16 are for CUDA devices, and for CPUs with instructions for them "
        "[ELASTICNAS_WORKER_DTYPE].",
        show_default="float32",
    ),
]


def demand_locks() -> None:
    """Processes that share files need locks that Windows does not have.

    Raises:
        InputError: this is Windows.
    """
    if os.name == "nt":
        raise InputError(
            "servers, coordinators and workers run on Linux and macOS",
            field="this machine",
            value=sys.platform,
            remedy="run it in WSL or Docker; the client commands work here, with --server",
        )


def log_to_stderr() -> None:
    """Have the process's log, and the tracebacks of its faults, on standard error."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    Tracebacks.in_log = True  # standard error is the log, where they are looked for
    for noisy in ("httpx2", "alembic.runtime", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def step_back(settings: ProcessSettings) -> None:
    """Leave the processor to servers first; the threads that are started from now on do, too."""
    if hasattr(os, "nice"):  # Windows has no such thing
        os.nice(settings.niceness)


def demand(value: str | None, setting: str, meaning: str) -> None:
    """Have a setting without which the process has nothing to do.

    Raises:
        InputError: it is not set.
    """
    if value is None:
        raise InputError(
            f"this process needs {meaning}",
            field=setting,
            remedy=f"give --{setting.replace('_', '-')}, or set ELASTICNAS_{setting.upper()}",
        )


def demand_folder(folder: Path) -> None:
    """Make the data folder, unless it is there.

    Raises:
        InputError: it cannot be made, or nothing can be written in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise InputError(
            f"this folder cannot be used: {error.strerror}",
            field="data_dir",
            value=folder.absolute(),
            remedy="name one that can be written with --data-dir or ELASTICNAS_DATA_DIR",
        ) from error


@contextmanager
def open_to_us(settings: ServiceSettings, address: str | None = None) -> Iterator[ServiceSettings]:
    """Hold the database while the block lasts; its schema is up to date when the block begins.

    The block gets the settings with which nobody looks at the schema once more.

    Raises:
        InputError: other processes have it for themselves, it does not answer, it is none, it is
            damaged, it is of a newer version, or its disk is full.
    """
    from alembic.util import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    from elasticnas.service.database import Database
    from elasticnas.service.database_lock import database_held

    is_ours = False
    try:
        with database_held(settings, address):
            database = Database(settings.resolved_database_url)
            try:
                if settings.migrate_on_start:
                    database.migrate()
                database.check()
            finally:
                database.close()
            is_ours = True
            yield settings.model_copy(update={"migrate_on_start": False})
    except (SQLAlchemyError, CommandError) as error:
        if is_ours:  # what the block raised: a fault, not a database that cannot be opened
            raise
        raise _unusable(settings, error) from error


def _unusable(settings: ServiceSettings, error: Exception) -> InputError:
    cause = str(getattr(error, "orig", None) or error)
    if "Can't locate revision" in cause:
        cause = f"it was made by a newer version of ElasticNAS ({cause})"
    return InputError(
        f"this database cannot be used: {masked(cause)}",
        field="database_url",
        value=masked(settings.resolved_database_url),
        remedy="start or mend it, or name another with --database-url, --data-dir or "
        "ELASTICNAS_DATABASE_URL",
    )


def wait(
    told: threading.Event,
    settings: ProcessSettings,
    *,
    is_alive: Callable[[], bool],
    gets_somewhere: Callable[[], bool],
) -> None:
    """Until the process is told to stop; one whose threads died leaves it to its supervisor.

    The alive file is touched while the process gets somewhere.

    Raises:
        ProcessDiedError: there is nothing left to wait for.
    """
    while True:
        if not is_alive():
            raise ProcessDiedError("a thread that must not end has ended; the log says why")
        if settings.alive_file is not None and gets_somewhere():
            settings.alive_file.touch()
        if told.wait(ALIVE_SECONDS):
            return


@contextmanager
def termination(grace_seconds: float) -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; the process ends so long after it in any case."""
    told, deadline = threading.Event(), Deadline()

    def stop(*_: object) -> None:
        told.set()
        deadline.within(grace_seconds)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    yield told
