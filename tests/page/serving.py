"""A service with a stand-in worker behind a real port, for a browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import uvicorn
from dramatiq.brokers.stub import StubBroker

from elasticnas.service.app import create_app, end_streams
from elasticnas.service.blobs import make_blobs
from elasticnas.service.http.server import Server
from elasticnas.service.settings import ServiceSettings
from elasticnas.service.signals import LocalSignals
from tests.backing import free_port
from tests.service.running import Running
from tests.service.stand_in import StandInWorker


@dataclass
class Served(Running):
    """A running service, and where a browser finds it."""

    url: str


@contextmanager
def served(folder: Path, **settings: object) -> Iterator[Served]:
    """Start a service on a port; stop it at the end of the block."""
    configured = ServiceSettings(
        data_dir=folder / "data",
        database_url=f"sqlite:///{folder / 'page.db'}",
        **{"tick_seconds": 0.02, "inspection_timeout_seconds": 5, **settings},
    )
    broker = StubBroker()
    signals, blobs = LocalSignals(broker), make_blobs(configured)
    worker = StandInWorker(broker, signals, blobs, folder)
    app = create_app(configured, broker, signals, blobs)
    port = free_port()
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning")
    server = Server(config, before_shutdown=lambda: end_streams(app))
    thread = threading.Thread(target=server.run, name="page-server")
    thread.start()
    url = f"http://127.0.0.1:{port}"
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        time.sleep(0.02)
    worker.start()
    try:
        with httpx2.Client(base_url=url, timeout=60) as client:
            yield Served(client, worker, configured, app, url)
    finally:
        worker.stop()
        server.should_exit = True
        thread.join()
