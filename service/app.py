"""The service as an ASGI application."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dramatiq
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from api_schemas.problems import Problem
from service import operations
from service.blobs import LocalBlobs
from service.database import Database, now
from service.datasets import endpoints as datasets
from service.exports import endpoints as exports
from service.exports.building import resend_pending
from service.http import errors
from service.http.body_limit import BodyLimit
from service.queue import Queue
from service.results import Recorder
from service.runtime import Service
from service.searches import endpoints as searches
from service.searches import front
from service.searches.coordinator import Coordinator
from service.settings import ServiceSettings
from service.supernets import endpoints as supernets
from service.supernets import repository as supernet_repository
from service.supernets.known import KnownSupernets
from service.workers import endpoints as workers

DESCRIPTION = """Neural architecture search over fine-tuned transformer super-networks.

Register a super-network and validation data, start a search, poll its Pareto front, download the
weights of the subnet you choose. Errors are `application/problem+json` (RFC 9457); their types are
listed at `/problems`."""

STALE_UPLOAD_SECONDS = 24 * 3600


def create_app(settings: ServiceSettings, broker: dramatiq.Broker) -> FastAPI:
    """The application: everything starts and stops with its lifespan.

    ``broker`` is the queue to the workers; embedded, the workers' actors are on it too.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Uploads spool on the data volume: /tmp may be small, and storing is then a rename.
        settings.incoming_dir.mkdir(parents=True, exist_ok=True)
        previous, tempfile.tempdir = tempfile.tempdir, str(settings.incoming_dir.resolve())
        service = await run_in_threadpool(_open, settings, broker)
        app.state.service = service
        try:
            yield
        finally:
            await run_in_threadpool(_close, service)
            tempfile.tempdir = previous

    app = FastAPI(
        title="ElasticNAS",
        description=DESCRIPTION,
        version="1",
        lifespan=lifespan,
        responses={
            "default": {
                "description": "Any other problem",
                "content": {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                },
            }
        },
    )
    errors.install(app)
    app.add_middleware(BodyLimit, limit=lambda path: _body_limit(settings, path))
    for router in (
        supernets.router,
        datasets.router,
        searches.router,
        front.router,
        exports.router,
        workers.router,
        operations.router,
    ):
        app.include_router(router)
    _describe_problems(app)
    return app


def _open(settings: ServiceSettings, broker: dramatiq.Broker) -> Service:
    database = Database(settings.resolved_database_url)
    if settings.migrate_on_start:
        database.migrate()
    blobs = LocalBlobs(settings.blob_dir)
    _sweep(settings, database)
    queue, known = Queue(broker), KnownSupernets()
    coordinator = None
    if settings.coordinate:
        coordinator = Coordinator(
            database,
            queue,
            known,
            tick_seconds=settings.tick_seconds,
            lease_seconds=settings.evaluation_lease_seconds,
        )
        queue.start(Recorder(database, coordinator).record)
        coordinator.start()
    service = Service(settings, database, blobs, queue, known, coordinator)
    if coordinator is not None:
        resend_pending(service)
    return service


def _close(service: Service) -> None:
    """Finish the result being recorded, then the coordinator's transaction, then disconnect."""
    service.queue.stop()
    if service.coordinator is not None:
        service.coordinator.stop()
    service.database.close()


def _sweep(settings: ServiceSettings, database: Database) -> None:
    """Clear away what a killed process left of uploads and registrations."""
    patience = timedelta(seconds=10 * settings.inspection_timeout_seconds)
    with database.write() as session:
        supernet_repository.sweep(session, now() - patience)
    before = time.time() - STALE_UPLOAD_SECONDS
    for entry in settings.incoming_dir.iterdir():
        if entry.stat().st_mtime < before:
            _remove(entry)


def _remove(entry: Path) -> None:
    if entry.is_dir():
        shutil.rmtree(entry, ignore_errors=True)
    else:
        entry.unlink(missing_ok=True)


def _body_limit(settings: ServiceSettings, path: str) -> int:
    if path.startswith("/v1/supernets"):
        return settings.max_upload_bytes
    if path.startswith("/v1/datasets"):
        return settings.max_dataset_bytes
    return settings.max_json_bytes


def _describe_problems(app: FastAPI) -> None:
    """Put the problem document into OpenAPI, in place of FastAPI's own error bodies."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        schema = original()
        components = schema.setdefault("components", {}).setdefault("schemas", {})
        described = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        components |= described.pop("$defs", {})
        components["Problem"] = described
        for name in ("HTTPValidationError", "ValidationError"):
            components.pop(name, None)
        reference = {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        }
        for path in schema["paths"].values():
            for operation in path.values():
                answer = operation["responses"].get("422")
                if answer is not None and "application/json" in answer["content"]:
                    operation["responses"]["422"] = {
                        "description": "The request is not valid",
                        "content": reference,
                    }
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
