"""``elasticnas serve``: the server, with a worker inside unless the queue is in Redis."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from elasticnas.api_schemas.problems import InputError
from elasticnas.api_schemas.registry import load_plugins
from elasticnas.cli.extras import demand_extras
from elasticnas.cli.failures import ProcessDiedError
from elasticnas.cli.processes import (
    CLOSING_SECONDS,
    DatabaseUrl,
    DataDir,
    Device,
    Dtype,
    RedisUrl,
    demand_folder,
    demand_locks,
    log_to_stderr,
    open_to_us,
)
from elasticnas.cli.stopping import Deadline

if TYPE_CHECKING:
    from fastapi import FastAPI

    from elasticnas.cli.configuration import Configuration
    from elasticnas.service.settings import ServiceSettings

_PASSIVE = socket.AI_PASSIVE


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
    demand_locks()
    demand_extras("server")
    from elasticnas.cli.configuration import Configuration
    from elasticnas.service.settings import ServiceSettings

    log_to_stderr()
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
    if settings.redis_url is None:
        demand_extras("server", "worker")
    # uvicorn shuts down gracefully and then raises the signal again: to a supervisor, a stop that
    # was asked for is a success.
    signal.signal(signal.SIGTERM, _end_well)
    demand_folder(settings.data_dir)
    load_plugins(settings.plugins)
    with open_to_us(settings, address=_address(host, port)) as settings:
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

    from elasticnas.cli.broker import make_broker
    from elasticnas.cli.configuration import read_worker_settings
    from elasticnas.cli.embedded import EmbeddedWorker
    from elasticnas.service.app import create_app, end_streams
    from elasticnas.service.blobs import make_blobs
    from elasticnas.service.http.server import Server

    silence = settings.worker_silence_seconds
    broker, signals = make_broker(settings.redis_url, silence_seconds=silence)
    blobs = make_blobs(settings)
    grace = settings.stop_grace_seconds
    worker: EmbeddedWorker | None = None
    if settings.redis_url is None:
        of_worker = read_worker_settings(configuration, settings.data_dir, worker_options)
        worker = EmbeddedWorker(of_worker, blobs, broker, signals, lambda: worker_died())
        grace = max(grace, of_worker.stop_grace_seconds)
    inside = None if worker is None else worker.inside
    app = create_app(settings, broker, signals, blobs, inside)
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=max(1, round(settings.stop_grace_seconds - CLOSING_SECONDS)),
    )
    deadline = Deadline()
    has_died = False

    def worker_died() -> None:
        nonlocal has_died
        has_died = True
        deadline.within(grace)
        server.should_exit = True

    if worker is not None:
        worker.run_within(app)
    else:
        _close_soon(app, deadline)
    server = Server(
        config,
        on_signal=lambda: deadline.within(grace),
        before_shutdown=lambda: end_streams(app),
    )
    server.run()
    if worker is not None and worker.error is not None:
        raise worker.error
    if not server.started:
        raise ProcessDiedError("the server could not begin; the log says why")
    if has_died:
        raise ProcessDiedError("the worker inside the server has stopped; the log says why")


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


def _end_well(*_: object) -> NoReturn:
    sys.exit(0)


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
