"""The thread of a server that clears away orphans."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

from elasticnas.service.blobs.store import BlobStore
from elasticnas.service.database import Database
from elasticnas.service.orphans.collection import collect
from elasticnas.service.orphans.sweeping import sweep_folder, sweep_registrations
from elasticnas.service.settings import ServiceSettings

log = logging.getLogger(__name__)

STALE_UPLOAD_SECONDS = 24 * 3600


class OrphanCollector:
    """Collects as it starts and every so often; the servers of an installation take turns."""

    def __init__(self, settings: ServiceSettings, database: Database, blobs: BlobStore) -> None:
        self._settings = settings
        self._database = database
        self._blobs = blobs
        self._refusal: str | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="orphans", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the deletion in hand; a store that does not answer is not waited for."""
        self._stopping.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        while True:
            try:
                self.collect()
            except Exception:  # the database or the store may be away: the next round tries again
                log.warning("orphans were not collected", exc_info=True)
            if self._stopping.wait(self._settings.orphan_interval_seconds):
                return

    def collect(self) -> None:
        """One round."""
        sweep_registrations(self._database)
        sweep_folder(self._settings.incoming_dir, STALE_UPLOAD_SECONDS)
        grace = timedelta(seconds=self._settings.orphan_grace_seconds)
        outcome = collect(self._database, self._blobs, grace, stopping=self._stopping.is_set)
        if outcome.deleted or outcome.marked:
            log.info(
                "%d blobs that nothing refers to were deleted, %d marked",
                outcome.deleted,
                outcome.marked,
            )
        if outcome.begun_elsewhere:
            return
        if outcome.refusal is not None and outcome.refusal != self._refusal:
            log.warning(
                "orphans are not collected: %s (elasticnas storage check says more)",
                outcome.refusal,
            )
        self._refusal = outcome.refusal
