"""Opening and closing the service's parts, for a server and for a coordinator alone."""

from __future__ import annotations

import time

import dramatiq

from elasticnas.service.blobs import BlobStore, make_blobs
from elasticnas.service.database import Database
from elasticnas.service.errand_repository import anything_waits
from elasticnas.service.exports.building import resend_exports
from elasticnas.service.jobs.driving import drive
from elasticnas.service.jobs.feed import JobFeed
from elasticnas.service.orphans import ownership
from elasticnas.service.orphans.collection import refers_to_a_blob_in
from elasticnas.service.overview.feed import OverviewFeed
from elasticnas.service.postgresql import Limits
from elasticnas.service.queue import Queue
from elasticnas.service.result_recorder import Recorder
from elasticnas.service.runtime import Service
from elasticnas.service.searches.coordinator import Coordinator
from elasticnas.service.searches.feed import SearchFeed
from elasticnas.service.settings import ServiceSettings
from elasticnas.service.signals import LocalSignals, Signals
from elasticnas.service.streaming.watcher import Watcher
from elasticnas.service.supernets.registration import ask_again
from elasticnas.service.supernets.report_cache import ReportCache
from elasticnas.service.workers.inside import WorkerInside

CLOSE_SECONDS = 3.0
"""How long results and transactions in hand may take at the end."""


def open_service(
    settings: ServiceSettings,
    broker: dramatiq.Broker,
    signals: Signals,
    blobs: BlobStore | None = None,
    worker_inside: WorkerInside | None = None,
) -> Service:
    """Connect, migrate, and begin to coordinate if asked.

    With a queue in memory there is no other coordinator, and it drives every search.
    """
    settings.incoming_dir.mkdir(parents=True, exist_ok=True)
    blobs = blobs or make_blobs(settings)
    database = Database(
        settings.resolved_database_url,
        Limits.of_requests(settings.database_request_seconds),
        Limits.of_work(settings.database_work_seconds),
    )
    if settings.migrate_on_start:
        database.migrate()
    _sign(settings, database, blobs)
    queue, reports = Queue(broker, signals), ReportCache()
    coordinator = None
    if settings.coordinate:
        coordinator = Coordinator(
            database,
            queue,
            reports,
            settings,
            exclusive=isinstance(signals, LocalSignals),
            errands=lambda: errands.run(),
        )
    service = Service(
        settings,
        database,
        blobs,
        queue,
        reports,
        coordinator,
        watcher=Watcher(database, SearchFeed()),
        job_watcher=Watcher(database, JobFeed()),
        overview_watcher=Watcher(database, OverviewFeed()),
        worker_inside=worker_inside,
    )
    errands = Errands(service)
    if coordinator is not None:
        queue.start(Recorder(database, coordinator.wake, queue.halt).record)
        coordinator.start()
    return service


def _sign(settings: ServiceSettings, database: Database, blobs: BlobStore) -> None:
    """Tell other installations that this one uses the store, before anything is stored there."""
    is_beside_its_blobs = settings.database_url is None and settings.blobs_url is None
    names_its_blobs = is_beside_its_blobs and refers_to_a_blob_in(database, blobs)
    ownership.sign(database, blobs, names_its_blobs=names_its_blobs)


class Errands:
    """What a coordinator does that is no search's: it asks for what workers were not asked for."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._since = time.monotonic()

    def run(self) -> None:
        """Raises `QueueUnavailableError`, and is then run again.

        While nothing waits, it is one statement.
        """
        with self._service.database.read() as session:
            if not anything_waits(session):
                return
        ask_again(self._service)
        resend_exports(self._service)
        listened = time.monotonic() - self._since
        drive(self._service, listens=listened > self._service.settings.worker_silence_seconds)


def close_service(service: Service) -> None:
    """Finish the result being recorded, then the coordinator's transaction, then disconnect.

    What a database or queue that does not answer keeps from ending is left as it is: nothing is
    lost with it, and the process must end.
    """
    ends = time.monotonic() + CLOSE_SECONDS
    if service.coordinator is not None:
        service.coordinator.begin_to_stop()
    service.queue.stop(CLOSE_SECONDS)
    if service.coordinator is not None:
        service.coordinator.stop(max(0.0, ends - time.monotonic()))
    service.database.close()
