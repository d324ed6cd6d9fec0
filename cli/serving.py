"""``elasticnas serve`` and ``elasticnas worker``: the long-running processes."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from api_schemas.problems import InputError
from cli.broker import make_broker
from cli.configuration import Configuration, read_worker_settings
from cli.stopping import Deadline
from service.blobs import BlobSettings, make_blobs
from service.settings import ProcessSettings, ServiceSettings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from worker.runtime import WorkerRuntime

log = logging.getLogger(__name__)

ALIVE_SECONDS = 5.0
"""How often a process without a port looks whether its threads are alive, and says so."""

STUCK_SECONDS = 20.0
"""After so long without success, a process without a port no longer says that it is alive."""
CLOSING_SECONDS = 10.0
"""How long a process may take to end once it has no more requests in hand: two seconds for orphans,
three for results and transactions, and one wait for the database to give the searches back."""

# An option that is left out is None: then the environment or the configuration file decides.
DataDir = Annotated[
    Path | None,
    typer.Option(
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


class ProcessDiedError(Exception):
    """A thread of a long-running process has ended by itself."""


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
    import uvicorn

    from service.app import create_app, end_streams
    from service.http.server import Server

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
    if settings.redis_url is None:
        from worker.runtime import WorkerRuntime

        inside = read_worker_settings(
            configuration, settings.data_dir, {"device": device, "dtype": dtype}
        )
        _embed(app, WorkerRuntime(inside, blobs, broker, signals, alone=True))
        grace = max(grace, inside.stop_grace_seconds)
    # What the imports have made stays for good. To look through it again, as the garbage collector
    # does now and then, would keep all requests waiting for 0.2 s.
    gc.collect()
    gc.freeze()
    # uvicorn shuts down gracefully and then raises the signal again: to a supervisor, a stop that
    # was asked for is a success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    deadline = Deadline()
    if settings.redis_url is not None:
        _close_soon(app, deadline)
    Server(
        config,
        on_signal=lambda: deadline.within(grace),
        before_shutdown=lambda: end_streams(app),
    ).run()


def coordinate(
    redis_url: RedisUrl = None, database_url: DatabaseUrl = None, data_dir: DataDir = None
) -> None:
    """Drive searches, beside servers that only answer requests; as many as you like.

    Each search is driven by one coordinator at a time; when that one dies, another takes over.
    """
    from service.database_errors import DATABASE_ERRORS, is_transient, summary
    from service.lifecycle import close_service, open_service

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
) -> None:
    """Take work off a Redis queue; one process for each device.

    Blobs come from where the server has them: the same S3 (ELASTICNAS_BLOBS_URL), or a data folder
    that is the server's own, or on the same network share.
    """
    _log_to_stderr()
    configuration = Configuration.find()
    process = configuration.read(ProcessSettings, {"redis_url": redis_url})
    _step_back(process)
    _demand(process.redis_url, "redis_url", "where the servers have their queue")
    storage = configuration.read(BlobSettings, {"data_dir": data_dir})
    settings = read_worker_settings(
        configuration, storage.data_dir, {"device": device, "dtype": dtype}
    )
    from worker.runtime import WorkerRuntime  # torch: seconds that no wrong setting need wait for

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


def _embed(app: FastAPI, worker: WorkerRuntime) -> None:
    """Run the worker inside the service's lifespan: its last results are still recorded."""
    of_the_service = app.router.lifespan_context

    @asynccontextmanager
    async def with_worker(app: FastAPI) -> AsyncIterator[None]:
        async with of_the_service(app):
            worker.start()
            try:
                yield
            finally:
                await asyncio.to_thread(worker.stop)

    app.router.lifespan_context = with_worker


def _log_to_stderr() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    for noisy in ("httpx", "alembic.runtime", "uvicorn.access"):
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
