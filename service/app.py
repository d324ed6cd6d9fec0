"""The service as an ASGI application."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import dramatiq
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import Scope

from elasticnas.api_schemas.problems import Problem
from elasticnas.service import operations
from elasticnas.service.blobs import BlobStore
from elasticnas.service.datasets import endpoints as datasets
from elasticnas.service.exports import endpoints as exports
from elasticnas.service.exports import listing
from elasticnas.service.http import errors
from elasticnas.service.http.body_limit import BodyLimit
from elasticnas.service.http.head import HeadAsGet
from elasticnas.service.http.routing import FORM
from elasticnas.service.jobs import endpoints as jobs
from elasticnas.service.jobs import finetunings, trainings
from elasticnas.service.lifecycle import close_service, open_service
from elasticnas.service.meta import endpoints as meta
from elasticnas.service.orphans.collector import OrphanCollector
from elasticnas.service.overview import endpoints as overview
from elasticnas.service.page import endpoints as page
from elasticnas.service.plots import endpoints as plots
from elasticnas.service.readiness import Readiness, checks_of
from elasticnas.service.runtime import Service
from elasticnas.service.searches import comparison, evaluations, front, points, streaming
from elasticnas.service.searches import endpoints as searches
from elasticnas.service.searches.bounds import bounds_of_today
from elasticnas.service.settings import ServiceSettings
from elasticnas.service.signals import Signals
from elasticnas.service.supernets import endpoints as supernets
from elasticnas.service.supernets import layers
from elasticnas.service.workers import endpoints as workers
from elasticnas.service.workers.inside import WorkerInside

DESCRIPTION = """Neural architecture search over fine-tuned transformer super-networks.

Register a super-network and validation data, start a search, poll its Pareto front, download the
weights of the subnet you choose. Errors are `application/problem+json` (RFC 9457); their types are
listed at `/problems`."""

BOUNDED = ("/v1/searches/{search_id}/front", "/v1/searches/{search_id}/evaluations")
"""Addresses that take bounds on costs and metrics."""
SMALL_BODY_BYTES = 1 << 20
"""The largest body of a request that carries neither a file nor a list of subnets."""


def create_app(
    settings: ServiceSettings,
    broker: dramatiq.Broker,
    signals: Signals,
    blobs: BlobStore | None = None,
    worker_inside: WorkerInside | None = None,
) -> FastAPI:
    """The application: everything starts and stops with its lifespan.

    ``broker`` is the queue to the workers, ``signals`` what goes beside it; embedded, the worker
    in this process uses the same two. ``blobs`` is the store when the process has opened it
    already; None is the one of the settings. ``worker_inside`` is the worker that loads beside it.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Uploads spool on the data volume: /tmp may be small, and storing is then a rename.
        settings.incoming_dir.mkdir(parents=True, exist_ok=True)
        previous, tempfile.tempdir = tempfile.tempdir, str(settings.incoming_dir.resolve())
        service = await run_in_threadpool(
            open_service, settings, broker, signals, blobs, worker_inside
        )
        app.state.service = service
        app.state.readiness = Readiness(checks_of(service))
        orphans = OrphanCollector(settings, service.database.patient, service.blobs)
        orphans.start()
        try:
            yield
        finally:
            await run_in_threadpool(orphans.stop)
            await run_in_threadpool(close_service, service)
            tempfile.tempdir = previous

    app = FastAPI(
        title="ElasticNAS",
        description=DESCRIPTION,
        version="1",
        lifespan=lifespan,
        docs_url=None,  # the page has its own, which loads nothing from elsewhere
        redoc_url=None,
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
    app.add_middleware(BodyLimit, limit=lambda scope: _body_limit(settings, scope))
    app.add_middleware(HeadAsGet)
    for router in (
        supernets.router,
        layers.router,
        datasets.router,
        searches.router,
        evaluations.router,
        front.router,
        points.router,
        plots.router,
        streaming.router,
        exports.router,
        listing.router,
        comparison.router,
        trainings.router,
        trainings.derivations,
        finetunings.router,
        jobs.router,
        overview.router,
        meta.router,
        workers.router,
        operations.router,
        page.router,
    ):
        app.include_router(router)
    _describe(app)
    return app


def end_streams(app: FastAPI) -> None:
    """End all event streams; their clients come back, to another server, for what they miss.

    To be called on the server's event loop when it is told to stop.
    """
    service: Service | None = getattr(app.state, "service", None)
    if service is not None:
        service.watcher.close()
        service.job_watcher.close()
        service.overview_watcher.close()


def _body_limit(settings: ServiceSettings, scope: Scope) -> int:
    """The largest body of a request. Only files are large, and only they go to disk as they come.

    The request of a search may name thousands of subnets; every other JSON is small.
    """
    if scope["method"] == "POST":
        path = scope["path"].rstrip("/")
        is_form = Headers(scope=scope).get("content-type", "").strip().lower().startswith(FORM)
        if path in ("/v1/supernets", "/v1/trainings") and is_form:
            return settings.max_upload_bytes
        if path == "/v1/datasets" and is_form:
            return settings.max_dataset_bytes
        if path == "/v1/searches":
            return settings.max_json_bytes
    return min(SMALL_BODY_BYTES, settings.max_json_bytes)


def _describe(app: FastAPI) -> None:
    """Put the bounds of fronts into OpenAPI, and the problem document in place of FastAPI's own."""
    original = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        schema = original()
        # Metrics that plugins register are known only now.
        for path in BOUNDED:
            schema["paths"][path]["get"]["parameters"] += bounds_of_today()
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
