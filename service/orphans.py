"""Clearing away what nothing refers to: blobs, and what killed processes left behind."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from service.blobs.folder import read_manifest
from service.blobs.store import BlobStore
from service.database import Database, now
from service.datasets import repository as datasets
from service.exports import repository as exports
from service.settings import ServiceSettings
from service.supernets import repository as supernets

log = logging.getLogger(__name__)

STALE_UPLOAD_SECONDS = 24 * 3600
FAILED_REGISTRATIONS = timedelta(days=7)
"""How long a super-network that cannot be used is shown with its problem."""


class OrphanCollector:
    """A thread that clears away orphans as it starts and every so often.

    Any number of processes may do so at once; they only repeat each other's looking.
    """

    def __init__(self, settings: ServiceSettings, database: Database, blobs: BlobStore) -> None:
        self._settings = settings
        self._database = database
        self._blobs = blobs
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="orphans", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the deletion in hand; a store that does not answer is not waited for."""
        self._stopping.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            try:
                self._collect()
            except Exception:  # the database or the store may be away: the next round tries again
                log.warning("orphans were not collected", exc_info=True)
            if self._stopping.wait(self._settings.orphan_interval_seconds):
                return

    def _collect(self) -> None:
        sweep_registrations(self._database)
        sweep_folder(self._settings.incoming_dir, STALE_UPLOAD_SECONDS)
        grace = timedelta(seconds=self._settings.orphan_grace_seconds)
        count = collect_orphans(self._database, self._blobs, grace, stopping=self._stopping.is_set)
        if count:
            log.info("%d blobs that nothing referred to were deleted", count)


def collect_orphans(
    database: Database,
    blobs: BlobStore,
    older_than: timedelta,
    *,
    stopping: Callable[[], bool] = lambda: False,
) -> int:
    """Delete the blobs that no row refers to and that were stored longer ago; how many.

    Why this never takes a blob that somebody needs: an upload stores its blobs first and commits
    the row that refers to them later, but less than ``older_than`` later. Let it have stored a blob
    at the moment t.

    - The row is committed before the references are read here: the blob is referred to.
    - It is committed after: then less than ``older_than`` has passed since t, so the blob is too
      young, even when the same content had been lying there for long, as storing it again makes it
      young. And if t falls between the listing here and the deletion, `BlobStore.discard` looks at
      the age once more, in a way that excludes a `BlobStore.store` of the same content.

    Raises:
        BlobError: a super-network's manifest cannot be read, so that nobody knows which files it
            names. Nothing is deleted then: they may be all that is left to repair it from.
    """
    before = now() - older_than
    blobs.discard_unfinished(before)
    stale = set(blobs.stored_before(before))
    if not stale:
        return 0
    stale -= _referred_to(database, blobs)
    count = 0
    for digest in sorted(stale):
        if stopping():
            break
        count += blobs.discard(digest, before)
    return count


def _referred_to(database: Database, blobs: BlobStore) -> set[str]:
    """Every digest that a row names, directly or through a manifest."""
    with database.read() as session:
        manifests = supernets.digests(session)
        digests = {*manifests, *datasets.digests(session), *exports.digests(session)}
    for manifest in manifests:
        digests.update(file.sha256 for file in read_manifest(blobs, manifest).files.values())
    return digests


def sweep_registrations(database: Database) -> None:
    """Delete super-networks whose checkpoint was found to be unusable a while ago."""
    with database.write() as session:
        supernets.sweep(session, now() - FAILED_REGISTRATIONS)


def sweep_folder(folder: Path, older_than_seconds: float) -> None:
    """Delete the entries of a folder that nobody has written to for so long."""
    before = time.time() - older_than_seconds
    for entry in folder.iterdir():
        try:
            if entry.stat().st_mtime >= before:
                continue
        except FileNotFoundError:
            continue  # an upload that is just over
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
