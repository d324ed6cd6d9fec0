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
from api_schemas.supernets import SupernetRead
from service.blobs.folder import store_folder
from service.database import now
from service.http.problems import ProblemError, refuse
from service.identity import new_id
from service.queue import QueueUnavailableError
from service.runtime import Service
from service.supernets import reading, repository
from service.supernets.tables import SupernetRow, SupernetState

POLL_SECONDS = 0.05

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
        seconds = service.settings.inspection_timeout_seconds
        raise refuse("no-worker", f"no worker read the checkpoint within {seconds:g} seconds")
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
    deadline = time.monotonic() + service.settings.inspection_timeout_seconds
    while True:
        outcome = await run_in_threadpool(_outcome, service, supernet_id)
        if outcome is not SupernetState.READING or time.monotonic() > deadline:
            return outcome
        await asyncio.sleep(POLL_SECONDS)


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
