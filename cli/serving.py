"""``elasticnas serve`` and ``elasticnas worker``: the long-running processes."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.broker import make_broker

if TYPE_CHECKING:
    from fastapi import FastAPI

    from worker.runtime import WorkerRuntime
    from worker.settings import WorkerSettings

DataDir = Annotated[
    Path,
    typer.Option(
        envvar="ELASTICNAS_DATA_DIR", help="Folder for blobs, uploads and the SQLite database."
    ),
]
RedisUrl = Annotated[
    str | None,
    typer.Option(
        envvar="ELASTICNAS_REDIS_URL",
        help="Queue work in Redis, for workers in processes of their own.",
    ),
]
Device = Annotated[
    str,
    typer.Option(envvar="ELASTICNAS_WORKER_DEVICE", help="auto, cpu, cuda, cuda:<index> or mps."),
]
Dtype = Annotated[
    Literal["float32", "bfloat16"],
    typer.Option(envvar="ELASTICNAS_WORKER_DTYPE", help="bfloat16 is for CUDA devices."),
]


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    data_dir: DataDir = Path("data"),
    database_url: Annotated[
        str | None,
        typer.Option(
            envvar="ELASTICNAS_DATABASE_URL",
            help="SQLAlchemy URL, e.g. postgresql+psycopg://user@host/name.",
            show_default="SQLite in the data folder",
        ),
    ] = None,
    redis_url: RedisUrl = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
) -> None:
    """Run the server, with a worker inside unless the queue is in Redis."""
    import uvicorn

    from service.app import create_app
    from service.settings import ServiceSettings

    _log_to_stderr()
    given = {} if database_url is None else {"database_url": database_url}
    settings = ServiceSettings(data_dir=data_dir, **given)  # type: ignore[arg-type]
    broker = make_broker(redis_url)
    app = create_app(settings, broker)
    config = uvicorn.Config(app, host=host, port=port, log_config=None, server_header=False)
    if redis_url is None:
        from service.blobs import LocalBlobs
        from worker.runtime import WorkerRuntime

        blobs = LocalBlobs(settings.blob_dir)
        _embed(app, WorkerRuntime(_worker_settings(data_dir, device, dtype), blobs, broker))
    # uvicorn shuts down gracefully and then raises the signal again: to a supervisor, a stop that
    # was asked for is a success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.Server(config).run()


def work(
    redis_url: Annotated[
        str, typer.Option(envvar="ELASTICNAS_REDIS_URL", help="Where the queue is.")
    ],
    data_dir: DataDir = Path("data"),
    device: Device = "auto",
    dtype: Dtype = "float32",
) -> None:
    """Take work off a Redis queue; one process for each device.

    The data folder holds the server's blobs: the same folder, or the same network share.
    """
    from service.blobs import LocalBlobs
    from service.settings import ServiceSettings
    from worker.runtime import WorkerRuntime

    _log_to_stderr()
    blobs = LocalBlobs(ServiceSettings(data_dir=data_dir).blob_dir)
    worker = WorkerRuntime(_worker_settings(data_dir, device, dtype), blobs, make_broker(redis_url))
    with _termination() as told_to_stop:
        worker.start()
        logging.getLogger(__name__).info("worker %s takes work", worker.name)
        told_to_stop.wait()
        worker.stop()


def _embed(app: FastAPI, worker: WorkerRuntime) -> None:
    """Run the worker inside the service's lifespan: its last results are still recorded."""
    # Two Dramatiq workers share the broker in memory: ours, and the service's for results. Dramatiq
    # warns of that because on a real broker they would count as one.
    logging.getLogger("dramatiq.broker.StubBroker").setLevel(logging.ERROR)
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


def _worker_settings(
    data_dir: Path, device: str, dtype: Literal["float32", "bfloat16"]
) -> WorkerSettings:
    from worker.settings import WorkerSettings

    return WorkerSettings(device=device, dtype=dtype, cache_dir=data_dir / "worker")


def _log_to_stderr() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    for noisy in ("httpx", "alembic.runtime", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


@contextmanager
def _termination() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    yield told
