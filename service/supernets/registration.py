"""Registering a super-network: store the files, have a worker read them, keep what it says."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from api_schemas.messages import InspectSupernet
from api_schemas.problems import Problem
from api_schemas.searches import ProcessKind
from api_schemas.supernets import SupernetRead
from service import presence
from service.blobs.folder import store_folder
from service.database import now
from service.http.problems import ProblemError, problem, refuse
from service.identity import new_id
from service.queue import QueueUnavailableError
from service.runtime import Service
from service.supernets import reading, repository
from service.supernets.tables import SupernetRow, SupernetState

POLL_SECONDS = 0.05
LOOK_SECONDS = 1.0
"""How often it is looked whether anybody would hear a worker's report."""
PATIENCE_SECONDS = 10.0
"""How long a coordinator may be away, as at a restart, before a registration is given up."""

Source = Callable[[Path], Path]
"""Puts a checkpoint below an empty folder and returns the checkpoint's own folder."""


async def register(service: Service, source: Source, name: str | None) -> SupernetRead:
    """Store a checkpoint and wait for a worker to read it.

    The row is polled rather than signalled, so the result may be recorded by another process.

    Raises:
        InputError, ProblemError: the source cannot be used.
        ProblemError: the worker's problem with the checkpoint; 503 when no worker answers in time
            or the queue is down. No super-network is left behind.
    """
    supernet_id = new_id("supernet")
    await run_in_threadpool(_store, service, source, supernet_id, name)
    try:
        state = await _wait(service, supernet_id)
    finally:  # also when the client has gone
        discarded = await asyncio.shield(run_in_threadpool(_discard, service, supernet_id))
    if isinstance(state, Problem):
        raise ProblemError(state)
    if discarded:
        raise ProblemError(await run_in_threadpool(_why_unread, service))
    return await run_in_threadpool(_read, service, supernet_id)


def _store(service: Service, source: Source, supernet_id: str, name: str | None) -> None:
    incoming = service.settings.incoming_dir
    with tempfile.TemporaryDirectory(dir=incoming, prefix="supernet-") as workspace:
        digest, manifest = store_folder(service.blobs, source(Path(workspace)))
    row = SupernetRow(
        id=supernet_id,
        name=name or supernet_id,
        state=SupernetState.READING,
        digest=digest,
        size_bytes=manifest.size,
        created_at=now(),
    )
    with service.database.write() as session:
        session.add(row)
    try:
        service.queue.send(InspectSupernet(supernet_id=supernet_id, digest=digest))
    except QueueUnavailableError as error:
        _discard(service, supernet_id)
        raise refuse("queue-unavailable", "the message broker does not answer") from error


async def _wait(service: Service, supernet_id: str) -> SupernetState | Problem:
    heard = looked = time.monotonic()
    deadline = heard + service.settings.inspection_timeout_seconds
    while True:
        outcome = await run_in_threadpool(_outcome, service, supernet_id)
        moment = time.monotonic()
        if outcome is not SupernetState.READING or moment > deadline:
            return outcome
        if moment - looked > LOOK_SECONDS:
            looked = moment
            if await run_in_threadpool(_missing, service) is not ProcessKind.COORDINATOR:
                heard = moment
            elif moment - heard > PATIENCE_SECONDS:
                return outcome
        await asyncio.sleep(POLL_SECONDS)


def _missing(service: Service) -> ProcessKind | None:
    with service.database.read() as session:
        return presence.missing(session, service.settings.worker_silence_seconds)


def _why_unread(service: Service) -> Problem:
    """Which process was missing, as far as that can be told."""
    missing = _missing(service)
    if missing is ProcessKind.COORDINATOR:
        return problem("no-coordinator", presence.NO_COORDINATOR)
    seconds = service.settings.inspection_timeout_seconds
    detail = f"no worker read the checkpoint within {seconds:g} seconds"
    if missing is ProcessKind.WORKER:
        detail += f": {presence.NO_WORKER}"
    return problem("no-worker", detail)


def _outcome(service: Service, supernet_id: str) -> SupernetState | Problem:
    with service.database.read() as session:
        found = repository.outcome(session, supernet_id)
    if found is None:
        return SupernetState.READING  # swept by another process: will time out
    state, problem = found
    return state if problem is None else Problem.model_validate(problem)


def _discard(service: Service, supernet_id: str) -> bool:
    with service.database.write() as session:
        return repository.discard_unless_ready(session, supernet_id)


def _read(service: Service, supernet_id: str) -> SupernetRead:
    with service.database.read() as session:
        row = repository.ready(session, supernet_id)
        if row is None:
            raise refuse("not-found", f"super-network {supernet_id} was deleted meanwhile")
        return reading.read(row)
