"""``elasticnas serve`` and ``elasticnas worker``: the long-running processes."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.registry import load_plugins
from elasticnas.cli.broker import make_broker
from elasticnas.cli.configuration import Configuration, read_worker_settings
from elasticnas.cli.failures import ProcessDiedError, Tracebacks
from elasticnas.cli.stopping import Deadline
from elasticnas.client.passwords import masked
from elasticnas.service.blobs import BlobSettings, make_blobs
from elasticnas.service.settings import ProcessSettings, ServiceSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from elasticnas.worker.runtime import WorkerRuntime

log = logging.getLogger(__name__)

_PASSIVE = socket.AI_PASSIVE
ALIVE_SECONDS = 5.0
"""How often a process without a port looks whether its threads are alive, and says so."""

STUCK_SECONDS = 20.0
"""After so long without success, a process without a port no longer says that it is alive."""
CLOSING_SECONDS = 10.0
"""How long a process may take to end once it has no more requests in hand: two seconds for orphans,
three for results and transactions, and one wait for the database to give the searches back."""

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
    Literal["float32", "bfloat16"] | None,
    typer.Option(
        help="bfloat16 is for CUDA devices, and for CPUs with instructions for it "
        "[ELASTICNAS_WORKER_DTYPE].",
        show_default="float32",
    ),
]


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    coordinate: Annotated[
        bool | None,
        typer.Option(
            "--coordinate/--no-coordinate",
            help="Drive searches too, or leave that to others (with a queue in Redis) "
            "[ELASTICNAS_COORDINATE].",
            show_default="coordinate",
        ),
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
) -> None:
    """Run the server, with a worker inside unless the queue is in Redis."""
    _demand_locks()
    _log_to_stderr()
    configuration = Configuration.find()
    settings = configuration.read(
        ServiceSettings,
        {
            "data_dir": data_dir,
            "database_url": database_url,
            "redis_url": redis_url,
            "coordinate": coordinate,
        },
    )
    if settings.redis_url is None and not settings.coordinate:
        raise InputError(
            "with a queue in memory nobody else can drive the searches",
            field="coordinate",
            value=False,
            remedy="let it be true, or say where a Redis is with --redis-url or "
            "ELASTICNAS_REDIS_URL",
        )
    # uvicorn shuts down gracefully and then raises the signal again: to a supervisor, a stop that
    # was asked for is a success.
    signal.signal(signal.SIGTERM, _end_well)
    _demand_folder(settings.data_dir)
    load_plugins(settings.plugins)
    with _open_to_us(settings, address=_address(host, port)) as settings:
        _demand_port(host, port)
        _serve(configuration, settings, host, port, {"device": device, "dtype": dtype})


def _serve(
    configuration: Configuration,
    settings: ServiceSettings,
    host: str,
    port: int,
    worker_options: dict[str, str | None],
) -> None:
    import uvicorn

    from elasticnas.service.app import create_app, end_streams
    from elasticnas.service.http.server import Server

    silence = settings.worker_silence_seconds
    broker, signals = make_broker(settings.redis_url, silence_seconds=silence)
    blobs = make_blobs(settings)
    app = create_app(settings, broker, signals, blobs)
    grace = settings.stop_grace_seconds
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(grace - CLOSING_SECONDS)),
    )
    deadline = Deadline()
    has_died = False

    def worker_died() -> None:
        nonlocal has_died
        has_died = True
        deadline.within(grace)
        server.should_exit = True

    if settings.redis_url is None:
        from elasticnas.worker.runtime import WorkerRuntime

        inside = read_worker_settings(configuration, settings.data_dir, worker_options)
        _embed(app, WorkerRuntime(inside, blobs, broker, signals, alone=True), worker_died)
        grace = max(grace, inside.stop_grace_seconds)
    # What the imports have made stays for good. To look through it again, as the garbage collector
    # does now and then, would keep all requests waiting for 0.2 s.
    gc.collect()
    gc.freeze()
    if settings.redis_url is not None:
        _close_soon(app, deadline)
    server = Server(
        config,
        on_signal=lambda: deadline.within(grace),
        before_shutdown=lambda: end_streams(app),
    )
    server.run()
    if not server.started:
        raise ProcessDiedError("the server could not begin; the log says why")
    if has_died:
        raise ProcessDiedError("the worker inside the server has stopped; the log says why")


def coordinate(
    redis_url: RedisUrl = None, database_url: SharedDatabaseUrl = None, data_dir: DataDir = None
) -> None:
    """Drive searches, beside servers that only answer requests; as many as you like.

    Each search is driven by one coordinator at a time; when that one dies, another takes over.
    """
    _demand_locks()
    _log_to_stderr()
    settings = Configuration.find().read(
        ServiceSettings,
        {
            "redis_url": redis_url,
            "database_url": database_url,
            "data_dir": data_dir,
            "coordinate": True,
        },
    )
    _step_back(settings)
    _demand(settings.redis_url, "redis_url", "where the servers and workers have their queue")
    _demand(settings.database_url, "database_url", "the database of the servers")
    _demand_folder(settings.data_dir)
    load_plugins(settings.plugins)
    with _open_to_us(settings) as settings:
        _coordinate(settings)


def _coordinate(settings: ServiceSettings) -> None:
    from elasticnas.service.database_errors import DATABASE_ERRORS, is_transient, summary
    from elasticnas.service.lifecycle import close_service, open_service

    silence = settings.worker_silence_seconds
    queue = make_broker(settings.redis_url, silence_seconds=silence)
    try:
        service = open_service(settings, *queue)
    except DATABASE_ERRORS as error:
        if not is_transient(error):
            raise
        raise ProcessDiedError(f"the database cannot be used: {summary(error)}") from error
    driving = service.coordinator
    assert driving is not None
    with _termination(CLOSING_SECONDS) as told_to_stop:
        log.info("coordinating")
        try:
            _wait(
                told_to_stop,
                settings,
                is_alive=lambda: driving.is_alive and service.queue.is_recording,
                gets_somewhere=lambda: driving.stuck_seconds < STUCK_SECONDS,
            )
        finally:
            close_service(service)


def work(
    redis_url: RedisUrl = None,
    data_dir: DataDir = None,
    device: Device = None,
    dtype: Dtype = None,
    take: Annotated[
        str | None,
        typer.Option(
            help="Of inspections, evaluations, exports and jobs, separated by commas "
            "[ELASTICNAS_WORKER_TAKE].",
            show_default="all",
        ),
    ] = None,
) -> None:
    """Take work off a Redis queue; one process for each device.

    Blobs come from where the server has them: the same S3 (ELASTICNAS_BLOBS_URL), or a data folder
    that is the server's own, or on the same network share.
    """
    _demand_locks()
    _log_to_stderr()
    configuration = Configuration.find()
    process = configuration.read(ProcessSettings, {"redis_url": redis_url})
    _step_back(process)
    _demand(process.redis_url, "redis_url", "where the servers have their queue")
    storage = configuration.read(BlobSettings, {"data_dir": data_dir})
    settings = read_worker_settings(
        configuration, storage.data_dir, {"device": device, "dtype": dtype, "take": take}
    )
    _demand_folder(storage.data_dir)
    load_plugins(process.plugins)
    if storage.blobs_url is None:
        from elasticnas.service.database_lock import demand_shared

        demand_shared(storage.data_dir)
    from elasticnas.worker.runtime import (
        WorkerRuntime,  # torch: seconds that no wrong setting need wait for
    )

    queue = make_broker(process.redis_url, silence_seconds=settings.silence_seconds)
    worker = WorkerRuntime(settings, make_blobs(storage), *queue)
    patience = max(STUCK_SECONDS, 2 * settings.heartbeat_seconds)
    with _termination(settings.stop_grace_seconds) as told_to_stop:
        worker.start()
        log.info("worker %s takes work", worker.name)
        try:
            _wait(
                told_to_stop,
                process,
                is_alive=lambda: worker.is_alive,
                gets_somewhere=lambda: worker.silent_seconds < patience,
            )
        finally:
            worker.stop()


def _step_back(settings: ProcessSettings) -> None:
    """Leave the processor to servers first; the threads that are started from now on do, too."""
    if hasattr(os, "nice"):  # Windows has no such thing
        os.nice(settings.niceness)


def _demand(value: str | None, setting: str, meaning: str) -> None:
    if value is None:
        raise InputError(
            f"this process needs {meaning}",
            field=setting,
            remedy=f"give --{setting.replace('_', '-')}, or set ELASTICNAS_{setting.upper()}",
        )


def _demand_folder(folder: Path) -> None:
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


def _demand_port(host: str, port: int) -> None:
    """Refuse an address that is not here or in use before seconds are spent on imports.

    Raises:
        InputError: the address cannot be listened on.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=_PASSIVE)
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                if os.name == "posix":  # as asyncio will: a port of closed connections is free
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "this is no name of a host"
        raise InputError(
            f"cannot listen there: {reason}",
            field="--host, --port",
            value=_address(host, port),
            remedy="choose another with --port, or end the process that has it",
        ) from error


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


@contextmanager
def _open_to_us(settings: ServiceSettings, address: str | None = None) -> Iterator[ServiceSettings]:
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


def _end_well(*_: object) -> NoReturn:
    sys.exit(0)


def _wait(
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


def _close_soon(app: FastAPI, deadline: Deadline) -> None:
    """Once the last request is answered, nothing of the service takes long to end."""
    of_the_service = app.router.lifespan_context

    @asynccontextmanager
    async def with_deadline(app: FastAPI) -> AsyncIterator[None]:
        async with of_the_service(app):
            try:
                yield
            finally:
                deadline.within(CLOSING_SECONDS)

    app.router.lifespan_context = with_deadline


def _embed(app: FastAPI, worker: WorkerRuntime, on_death: Callable[[], None]) -> None:
    """Run the worker inside the service's lifespan: its last results are still recorded.

    ``on_death`` is called when it takes no more work, though nobody told it to stop.
    """

    async def watch() -> None:
        while worker.is_alive:
            await asyncio.sleep(ALIVE_SECONDS)
        log.error("the worker inside this server takes no more work: the server ends")
        on_death()

    of_the_service = app.router.lifespan_context

    @asynccontextmanager
    async def with_worker(app: FastAPI) -> AsyncIterator[None]:
        async with of_the_service(app):
            worker.start()
            watching = asyncio.create_task(watch())
            try:
                yield
            finally:
                watching.cancel()
                await asyncio.to_thread(worker.stop)

    app.router.lifespan_context = with_worker


def _demand_locks() -> None:
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


def _log_to_stderr() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    Tracebacks.in_log = True  # standard error is the log, where they are looked for
    for noisy in ("httpx2", "alembic.runtime", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@contextmanager
def _termination(grace_seconds: float) -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; the process ends so long after it, whatever hangs."""
    told, deadline = threading.Event(), Deadline()

    def stop(*_: object) -> None:
        told.set()
        deadline.within(grace_seconds)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    yield told
