"""A worker's life: start, take messages, show signs of life, stop gracefully."""

from __future__ import annotations

import faulthandler
import logging
import os
import socket
import threading
import time
from datetime import UTC, datetime

import dramatiq
import torch

from elasticnas.api_schemas.messages import EvaluateSubnets, RunStep, WorkerAlive
from elasticnas.worker import handlers  # noqa: F401 - registers them
from elasticnas.worker.blobs import BlobStore, sweep
from elasticnas.worker.broker_errors import BROKER_ERRORS
from elasticnas.worker.calibration import Calibration, thread_counts
from elasticnas.worker.compute import Compute
from elasticnas.worker.deliveries import Deliveries
from elasticnas.worker.guard import Guard
from elasticnas.worker.handler import Tools, handle
from elasticnas.worker.handlers.export import exports_written
from elasticnas.worker.intake import Intake, Taken
from elasticnas.worker.model_cache import ModelCache
from elasticnas.worker.outbox import Outbox, ShuttingDownError
from elasticnas.worker.settings import WorkerSettings
from elasticnas.worker.signals import WorkSignals
from elasticnas.worker.steps import Steps
from elasticnas.worker.vitals import BusyShare, device_name, memory

log = logging.getLogger(__name__)

IDLE_SECONDS = (0.01, 0.1)
"""How long an idle worker sleeps between looks at the queue: at first, and after a while."""
RECONNECT_SECONDS = 1.0

STALE_SECONDS = 24 * 3600
"""No checkpoint is read, and no archive built, for as long as this."""


class WorkerRuntime:
    """One device, one thread that works, one that says the worker is alive.

    ``alone`` says that no other worker shares the queue.

    Raises:
        InputError: the settings ask for a device or dtype that this machine does not have.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        blobs: BlobStore,
        broker: dramatiq.Broker,
        signals: WorkSignals,
        *,
        alone: bool = False,
    ) -> None:
        self._settings = settings
        self._compute = Compute(
            settings.torch_device(),
            settings.precision(),
            settings.tokens_per_batch(),
            settings.evaluation_timeout_seconds,
        )
        self._precisions = settings.precisions()
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self._started_at = datetime.now(UTC)
        self.name = f"{socket.gethostname()}-{os.getpid()}-{self._compute.device}"
        self._device_name = device_name(self._compute.device)
        self._busy = BusyShare()
        self._stopping = threading.Event()
        self._stuck = False
        self._models = ModelCache(
            blobs,
            settings.cache_dir / "checkpoints",
            device=self._compute.device,
            token_budget=self._compute.token_budget,
            capacity=settings.warm_supernets,
            device_bytes=settings.device_bytes(),
            memory_bytes=settings.warm_bytes(),
            prefix_bytes=settings.prefix_bytes(),
            calibration=Calibration(thread_counts()) if settings.calibrates() else None,
        )
        self._outbox = Outbox(broker, self._stopping)
        self._steps = Steps(
            self.name,
            blobs,
            signals,
            self._models,
            self._outbox.send,
            limits=settings.step_limits(),
            scratch=settings.cache_dir / "steps",
            stopping=self._stopping,
            busy=self._busy,
        )
        self._tools = Tools(
            worker=self.name,
            blobs=blobs,
            signals=signals,
            models=self._models,
            compute=self._compute,
            guard=Guard(self._models.give_up_prefixes, self._models.keep_used),
            send=self._outbox.send,
            scratch=settings.cache_dir / "exports",
            deliveries=Deliveries(signals),
            steps=self._steps,
        )
        self._intake = Intake(
            broker,
            signals,
            held=lambda: self._models.lanes,
            load_seconds=lambda: self._models.load_seconds,
            alone=alone,
            affinity=settings.affinity,
            precisions=self._precisions,
            takes=self._takes,
        )
        self._heard_at = time.monotonic()
        # One thread: a device runs one evaluation at a time, and models are not shared.
        # `stop` waits for it; one that hangs must not keep the process from ending.
        self._work = threading.Thread(target=self._take_messages, name="worker", daemon=True)
        self._heartbeat = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to take work."""
        for name in ("checkpoints", "exports", "steps"):
            sweep(self._settings.cache_dir / name, STALE_SECONDS)
        self._work.start()
        self._heartbeat.start()

    @property
    def is_alive(self) -> bool:
        """True while work is taken and signs of life are sent."""
        return self._work.is_alive() and self._heartbeat.is_alive() and not self._stuck

    @property
    def silent_seconds(self) -> float:
        """How long ago the message broker took a sign of life last."""
        return time.monotonic() - self._heard_at

    def stop(self) -> None:
        """Finish the message in hand, have a step save and give it back, say goodbye."""
        self._stopping.set()
        self._heartbeat.join()
        if self._stuck:
            log.error("worker %s leaves a measurement that hangs", self.name)
            return
        self._work.join()
        self._steps.join()
        try:
            self._outbox.send(self._alive(stopping=True))
        except ShuttingDownError:
            log.warning("the message broker was not told that worker %s leaves", self.name)

    def _takes(self) -> tuple[str, ...]:
        """The queues that it takes from at the moment: one step at a time, and no evaluation while
        that has the device for itself."""
        busy = {RunStep.queue} if self._steps.at else set()
        if self._steps.holds_device:
            busy.add(EvaluateSubnets.queue)
        return tuple(queue for queue in self._settings.queues() if queue not in busy)

    # -- work --------------------------------------------------------------------------------

    def _take_messages(self) -> None:
        idle_since = time.monotonic()
        while not self._stopping.is_set():
            try:
                taken = self._intake.take()
            except BROKER_ERRORS as error:
                log.warning("the message broker does not answer: %s", error)
                self._stopping.wait(RECONNECT_SECONDS)
                continue
            if taken is not None:
                self._do(taken)
                idle_since = time.monotonic()
            else:
                idle = time.monotonic() - idle_since
                shortest, longest = IDLE_SECONDS
                self._stopping.wait(min(longest, max(shortest, idle / 10)))

    def _do(self, taken: Taken) -> None:
        try:
            (payload,) = taken.message.args
            with self._busy.work():
                handle(taken.message.actor_name, payload, self._tools)
        except ShuttingDownError:
            return  # not acknowledged: once this process is gone, another is given the message
        except Exception:
            log.exception("message %s could not be taken", taken.message.message_id)
        while True:
            try:
                taken.acknowledge()
                return
            except BROKER_ERRORS:
                if self._stopping.wait(RECONNECT_SECONDS):
                    return

    # -- signs of life -----------------------------------------------------------------------

    def _beat(self) -> None:
        """Every sign of life also tells Dramatiq that the message in hand is not abandoned.

        A worker that hangs gives none: its message goes to another, and its process must end.
        """
        while True:
            if self._tools.guard.is_stuck():
                self._stuck = True
                log.error(
                    "a measurement takes twice its time limit and cannot be ended: worker %s is "
                    "stuck, start it anew; where its threads are:",
                    self.name,
                )
                faulthandler.dump_traceback()
                return
            try:
                self._outbox.send(self._alive(stopping=False))
                self._heard_at = time.monotonic()
            except ShuttingDownError:
                return
            if self._stopping.wait(self._settings.heartbeat_seconds):
                return

    def _alive(self, *, stopping: bool) -> WorkerAlive:
        return WorkerAlive(
            worker=self.name,
            device=str(self._compute.device),
            device_name=self._device_name,
            busy=self._busy.take(),
            memory=memory(self._compute.device),
            started_at=self._started_at,
            evaluations=self._tools.activity.evaluations,
            warm_supernets=self._models.digests,
            evaluating=self._tools.activity.jobs + self._steps.at,
            written=exports_written(self._tools.scratch, self._tools.activity.jobs),
            takes=self._takes(),
            precision=self._compute.precision,
            precisions=self._precisions,
            stopping=stopping,
        )
