"""The parts of a running service, which endpoints work with: one of each per process."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, cast

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from elasticnas.service import presence
from elasticnas.service.blobs import BlobStore
from elasticnas.service.database import Database
from elasticnas.service.http.body_cache import BodyCache
from elasticnas.service.presence import Presence
from elasticnas.service.queue import Queue
from elasticnas.service.searches.coordinator import Coordinator
from elasticnas.service.settings import ServiceSettings
from elasticnas.service.streaming.watcher import Watcher
from elasticnas.service.supernets.report_cache import ReportCache
from elasticnas.service.workers.inside import WorkerInside


@dataclass(frozen=True)
class Service:
    """The parts of a running service."""

    settings: ServiceSettings
    database: Database
    blobs: BlobStore
    queue: Queue
    reports: ReportCache
    coordinator: Coordinator | None
    watcher: Watcher
    job_watcher: Watcher
    overview_watcher: Watcher
    worker_inside: WorkerInside | None = None
    fronts: BodyCache[str] = field(default_factory=lambda: BodyCache(limit_bytes=64 * 2**20))
    points: BodyCache[bytes] = field(default_factory=lambda: BodyCache(limit_bytes=32 * 2**20))
    pictures: BodyCache[bytes] = field(default_factory=lambda: BodyCache(limit_bytes=16 * 2**20))

    @property
    def drives(self) -> bool | None:
        """Whether the coordinator inside this process drives searches; None: there is none."""
        return None if self.coordinator is None else self.coordinator.drives

    @property
    def silence(self) -> timedelta:
        """A worker not heard from for so long counts as gone."""
        return timedelta(seconds=self.settings.worker_silence_seconds)

    def present(self, session: Session) -> Presence:
        """Which coordinators and workers are there."""
        loads = self.worker_inside is not None and self.worker_inside.is_loading
        return presence.look(session, self.silence, loads=loads, drives=self.drives)


async def _service(request: Request) -> Service:  # needs no thread
    return cast(Service, request.app.state.service)


ServiceDep = Annotated[Service, Depends(_service)]
"""The service that answers a request."""
