"""The worker inside a server: it loads while the server answers, and ends before that does."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from elasticnas.cli.processes import ALIVE_SECONDS
from elasticnas.service.workers.inside import WorkerInside

if TYPE_CHECKING:
    import dramatiq
    from fastapi import FastAPI

    from elasticnas.service.blobs import BlobStore
    from elasticnas.service.signals import Signals
    from elasticnas.worker.runtime import WorkerRuntime
    from elasticnas.worker.settings import WorkerSettings

log = logging.getLogger(__name__)


class EmbeddedWorker:
    """Loads torch and the models' code in a thread of its own: seconds that no request waits for.

    ``on_death`` is called when it takes no work, or no more, though nobody told it to stop;
    ``error`` says why it could not begin.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        blobs: BlobStore,
        broker: dramatiq.Broker,
        signals: Signals,
        on_death: Callable[[], None],
    ) -> None:
        self.inside = WorkerInside(settings.device)
        self.error: Exception | None = None
        self._parts = settings, blobs, broker, signals
        self._on_death = on_death
        self._runtime: WorkerRuntime | None = None
        self._is_stopping = False
        self._loading = threading.Thread(target=self._load, name="worker-loading", daemon=True)

    def run_within(self, app: FastAPI) -> None:
        """Begin after the service does, and end before it: the last results are still recorded."""
        of_the_service = app.router.lifespan_context

        @asynccontextmanager
        async def with_worker(app: FastAPI) -> AsyncIterator[None]:
            async with of_the_service(app):
                self._loading.start()
                watching = asyncio.create_task(self._watch())
                try:
                    yield
                finally:
                    watching.cancel()
                    await asyncio.to_thread(self._stop)

        app.router.lifespan_context = with_worker

    def _load(self) -> None:
        try:
            runtime = self._loaded()
        except Exception as error:
            log.error("the worker inside this server cannot begin: the server ends")
            self.error = error
            self._on_death()
            return
        # What the imports have made stays for good. To look through it again, as the garbage
        # collector does now and then, would keep all requests waiting for 0.2 s.
        gc.collect()
        gc.freeze()
        if not self._is_stopping:
            runtime.start()
            self._runtime = runtime
            self.inside.is_loading = False

    def _loaded(self) -> WorkerRuntime:
        # The coordinator imports this as soon as it drives a search. Of packages that import each
        # other, two threads that import at once would see halves: so this comes before the worker.
        import elasticnas.search.strategies  # noqa: F401
        from elasticnas.worker.runtime import WorkerRuntime

        return WorkerRuntime(*self._parts, alone=True)

    async def _watch(self) -> None:
        while self._loading.is_alive() or (self._runtime is not None and self._runtime.is_alive):
            await asyncio.sleep(ALIVE_SECONDS)
        if self.error is None:
            log.error("the worker inside this server takes no more work: the server ends")
            self._on_death()

    def _stop(self) -> None:
        self._is_stopping = True
        self._loading.join()
        if self._runtime is not None:
            self._runtime.stop()
