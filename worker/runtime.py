"""A worker's life: start, heartbeat, graceful stop."""

from __future__ import annotations

import logging
import os
import socket
import threading
from datetime import UTC, datetime

import dramatiq
import dramatiq.errors

from api_schemas.messages import EvaluateSubnets, ExportSubnet, InspectSupernet, WorkerAlive
from worker.actors import Actors
from worker.blobs import BlobStore
from worker.settings import WorkerSettings
from worker.warm import WarmModels

log = logging.getLogger(__name__)

QUEUES = {InspectSupernet.queue, EvaluateSubnets.queue, ExportSubnet.queue}


class WorkerRuntime:
    """One device, one thread that works, one that says the worker is alive.

    Raises:
        InputError: the settings ask for a device or dtype that this machine does not have.
    """

    def __init__(self, settings: WorkerSettings, blobs: BlobStore, broker: dramatiq.Broker) -> None:
        self._settings = settings
        self._device = settings.torch_device()
        self._started_at = datetime.now(UTC)
        self.name = f"{socket.gethostname()}-{os.getpid()}-{self._device}"
        self._models = WarmModels(
            blobs,
            settings.cache_dir / "checkpoints",
            device=self._device,
            dtype=settings.torch_dtype(),
            token_budget=settings.tokens_per_batch(),
            capacity=settings.warm_supernets,
        )
        self._actors = Actors(
            broker,
            blobs,
            self._models,
            worker=self.name,
            scratch=settings.cache_dir / "exports",
        )
        # One thread: a device runs one evaluation at a time, and models are not shared.
        self._consumer = dramatiq.Worker(broker, queues=QUEUES, worker_threads=1, worker_timeout=50)
        # A message that waits in this process's memory is one that no idle worker can take.
        self._consumer.queue_prefetch = 1
        self._stopping = threading.Event()
        self._heartbeat = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to take work."""
        self._consumer.start()
        self._heartbeat.start()

    def stop(self) -> None:
        """Finish the message in hand, take no other, say goodbye."""
        self._stopping.set()
        self._consumer.stop(timeout=600_000)
        self._heartbeat.join()
        self._actors.send(self._alive(stopping=True))

    def _beat(self) -> None:
        while True:
            try:
                self._actors.send(self._alive(stopping=False))
            except dramatiq.errors.ConnectionError:
                log.warning("the message broker does not answer; the worker goes on trying")
            if self._stopping.wait(self._settings.heartbeat_seconds):
                return

    def _alive(self, *, stopping: bool) -> WorkerAlive:
        return WorkerAlive(
            worker=self.name,
            device=str(self._device),
            started_at=self._started_at,
            evaluations=self._actors.evaluations,
            warm_supernets=self._models.digests,
            stopping=stopping,
        )
