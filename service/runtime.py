"""What the endpoints work with: one of each per process."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, cast

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from elasticnas.service import presence
from elasticnas.service.blobs import BlobStore
from elasticnas.service.database import Database
from elasticnas.service.presence import Presence
from elasticnas.service.queue import Queue
from elasticnas.service.searches.coordinator import Coordinator
from elasticnas.service.searches.rendered import Rendered
from elasticnas.service.settings import ServiceSettings
from elasticnas.service.streaming.watcher import Watcher
from elasticnas.service.supernets.known import KnownSupernets
from elasticnas.service.workers.inside import WorkerInside


@dataclass(frozen=True)
class Service:
    """The parts of a running service."""

    settings: ServiceSettings
    database: Database
    blobs: BlobStore
    queue: Queue
    known: KnownSupernets
    coordinator: Coordinator | None
    watcher: Watcher
    job_watcher: Watcher
    worker_inside: WorkerInside | None = None
    fronts: Rendered[str] = field(default_factory=lambda: Rendered(limit_bytes=64 * 2**20))
    pictures: Rendered[bytes] = field(default_factory=lambda: Rendered(limit_bytes=16 * 2**20))

    @property
    def silence(self) -> timedelta:
        """A worker not heard from for so long counts as gone."""
        return timedelta(seconds=self.settings.worker_silence_seconds)

    def present(self, session: Session) -> Presence:
        """Who is there to do the work."""
        inside = self.worker_inside
        return presence.look(session, self.silence, loads=bool(inside and inside.is_loading))


async def _service(request: Request) -> Service:  # needs no thread
    return cast(Service, request.app.state.service)


ServiceDep = Annotated[Service, Depends(_service)]
"""The service that answers a request."""
