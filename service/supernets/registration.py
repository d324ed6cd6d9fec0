"""Registering a super-network: store the files, have a worker read them, keep what it says.

What was stored stays until a worker has read it, however long that takes: a request waits for a
while and then answers with a super-network that is being read. Whoever asks for it later, and every
coordinator that starts, sends the worker's message again if it is lost.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from elasticnas.api_schemas.messages import InspectSupernet
from elasticnas.api_schemas.problems import Problem
from elasticnas.api_schemas.supernets import SupernetPending, SupernetRead
from elasticnas.service.blobs.folder import store_folder
from elasticnas.service.database import clock, now
from elasticnas.service.http.problems import ProblemError, refuse
from elasticnas.service.identity import new_id
from elasticnas.service.principal import Principal
from elasticnas.service.queue import QueueUnavailableError
from elasticnas.service.runtime import Service
from elasticnas.service.supernets import reading, repository
from elasticnas.service.supernets.tables import SupernetRow, SupernetState

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
LOOK_SECONDS = 1.0
"""How often a waiting request looks whether anybody is there to read the checkpoint."""
PATIENCE_SECONDS = 30.0
"""How long nobody may be there, as at a restart, before a request is answered without waiting."""
LEASE_SECONDS = 900.0
"""A reading asked for this long ago that no living worker is at is asked for again."""

Source = Callable[[Path], Path]
"""Puts a checkpoint below an empty folder and returns the checkpoint's own folder."""


async def register(
    service: Service, principal: Principal, source: Source, name: str | None
) -> SupernetRead | SupernetPending:
    """Store a checkpoint and wait for a worker to read it; not for ever, and it goes on then.

    The row is polled rather than signalled, so the result may be recorded by another process.

    Raises:
        InputError, ProblemError: the source cannot be used.
        ProblemError: the worker's problem with the checkpoint. No super-network is left behind.
    """
    supernet_id = new_id("supernet")
    await run_in_threadpool(_store, service, principal, source, supernet_id, name)
    if await run_in_threadpool(send_inspection, service, supernet_id):
        await _wait(service, supernet_id)
    return await run_in_threadpool(_answer, service, supernet_id)


def _store(
    service: Service, principal: Principal, source: Source, supernet_id: str, name: str | None
) -> None:
    incoming = service.settings.incoming_dir
    with tempfile.TemporaryDirectory(dir=incoming, prefix="supernet-") as workspace:
        digest, manifest = store_folder(service.blobs, source(Path(workspace)))
    row = SupernetRow(
        id=supernet_id,
        owner=principal.owner,
        name=name or supernet_id,
        state=SupernetState.READING,
        digest=digest,
        size_bytes=manifest.size,
        created_at=now(),
    )
    with service.database.write() as session:
        repository.add(session, row)


def send_inspection(service: Service, supernet_id: str) -> bool:
    """Have a worker read a checkpoint; False when the queue cannot be reached just now."""
    with service.database.write() as session:
        digest = repository.mark_asked(session, supernet_id, clock(session))
    if digest is None:
        return True
    try:
        service.queue.send(InspectSupernet(supernet_id=supernet_id, digest=digest))
        generation = service.queue.lasting_generation()
    except QueueUnavailableError as error:
        log.warning("%s: the queue cannot be reached, its reading has to wait: %s", digest, error)
        with service.database.write() as session:
            repository.mark_unsent(session, supernet_id)
        return False
    with service.database.write() as session:
        repository.mark_sent(session, supernet_id, generation)
    return True


def resend_inspections(service: Service) -> None:
    """Have every checkpoint read whose message the queue has lost, or never had.

    Raises:
        QueueUnavailableError: the broker cannot be reached; this must be called again.
    """
    with service.database.read() as session:
        rows = repository.reading(session)
    if not rows:
        return
    generation = service.queue.lasting_generation()
    for row in rows:
        is_lost = generation is None or row.sent_generation != generation
        if is_lost and not send_inspection(service, row.id):
            raise QueueUnavailableError("a reading could not be asked for")


def pursue(service: Service, row: SupernetRow) -> SupernetPending:
    """A super-network that is not ready, as REST shows it; its reading is asked for again if need
    be."""
    if row.state == SupernetState.FAILED:
        return reading.pending(row)
    with service.database.read() as session:
        present, moment = service.present(session), clock(session)
    held = {job for worker in present.workers for job in worker.evaluating}
    try:
        generation = service.queue.lasting_generation()
    except QueueUnavailableError:
        return reading.pending(row, "the message broker, which does not answer")
    unsent = row.sent_at is None or (
        generation is not None and row.sent_generation not in (None, generation)
    )
    late = row.sent_at is not None and moment - row.sent_at > timedelta(seconds=LEASE_SECONDS)
    if unsent or (late and present.workers and f"{row.id}/inspection" not in held):
        send_inspection(service, row.id)
    return reading.pending(row, present.lacking())


async def _wait(service: Service, supernet_id: str) -> None:
    """Until a worker has read the checkpoint, or the patience of a request is over.

    It is over sooner when the processes that would read it are not there.
    """
    complete = looked = time.monotonic()
    deadline = complete + service.settings.inspection_timeout_seconds
    while await run_in_threadpool(_is_reading, service, supernet_id):
        if (moment := time.monotonic()) > deadline:
            return
        if moment - looked > LOOK_SECONDS:
            looked = moment
            if await run_in_threadpool(_lacking, service) is None:
                complete = moment
            elif moment - complete > PATIENCE_SECONDS:
                return
        await asyncio.sleep(POLL_SECONDS)


def _lacking(service: Service) -> str | None:
    with service.database.read() as session:
        return service.present(session).lacking()


def _is_reading(service: Service, supernet_id: str) -> bool:
    with service.database.read() as session:
        return repository.state(session, supernet_id) is SupernetState.READING


def _answer(service: Service, supernet_id: str) -> SupernetRead | SupernetPending:
    with service.database.write() as session:
        row = repository.by_id(session, supernet_id)
        if row is None:
            raise refuse("not-found", f"super-network {supernet_id} was deleted meanwhile")
        if row.state == SupernetState.READY:
            return reading.read(row)
        if row.state == SupernetState.FAILED:
            repository.remove(session, row)
    if row.state == SupernetState.FAILED:
        raise ProblemError(Problem.model_validate(row.problem))
    return pursue(service, row)
