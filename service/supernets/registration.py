"""Registering a super-network: store the files, have a worker read them, keep what it says.

What is stored stays until a worker has read it, however long that takes and whether or not anybody
waits. The process that stored it asks a worker at once; coordinators ask again where that failed,
or the message is lost.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

from starlette.concurrency import run_in_threadpool

from elasticnas.api_schemas.manifests import store_folder
from elasticnas.api_schemas.messages import InspectSupernet
from elasticnas.api_schemas.supernets import SupernetState
from elasticnas.service.database import clock, now
from elasticnas.service.http.problems import refuse
from elasticnas.service.identity import new_id
from elasticnas.service.jobs import registrations
from elasticnas.service.principal import Principal
from elasticnas.service.queue import QueueUnavailableError
from elasticnas.service.runtime import Service
from elasticnas.service.supernets import repository
from elasticnas.service.supernets.sources import Source
from elasticnas.service.supernets.tables import SupernetRow

log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
LOOK_SECONDS = 1.0
"""How often a waiting request looks whether anybody is there to read the checkpoint."""
PATIENCE_SECONDS = 30.0
"""How long nobody may be there, as at a restart, before a request is answered without waiting."""
LEASE = timedelta(minutes=15)
"""A reading asked for this long ago that no living worker is at is asked for again."""
SENDING = timedelta(seconds=30)
"""How long a process may take from writing down that it asks until the message is sent."""


async def register(
    service: Service, principal: Principal, source: Source, name: str | None, patience: float
) -> SupernetRow:
    """Store a checkpoint, ask a worker to read it, and wait for that as long as the client does.

    The row is polled rather than signalled, so the result may be recorded by another process.

    Raises:
        InputError, ProblemError: the source cannot be used.
    """
    row = await run_in_threadpool(_store, service, principal, source, name)
    if await run_in_threadpool(_ask_now, service, row):
        await until_read(service, row.id, patience)
    return await run_in_threadpool(_found, service, row.id)


def _store(service: Service, principal: Principal, source: Source, name: str | None) -> SupernetRow:
    incoming = service.settings.incoming_dir
    with tempfile.TemporaryDirectory(dir=incoming, prefix="supernet-") as workspace:
        digest, manifest = store_folder(service.blobs, source(Path(workspace)))
    supernet_id = new_id("supernet")
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
        registrations.tell_owner(session, row)
    return row


def read_again(service: Service, principal: Principal, supernet_id: str) -> SupernetRow:
    """Have a worker read a checkpoint once more that could not be read.

    Raises:
        ProblemError: 409, it has been read, or is being read.
    """
    with service.database.write() as session:
        row = repository.found(session, principal, supernet_id, lock=True)
        if row.state != SupernetState.FAILED:
            raise refuse("illegal-transition", f"super-network {supernet_id} is {row.state}")
        row.state, row.problem, row.attempt = SupernetState.READING, None, row.attempt + 1
        row.sent_at = row.sent_generation = row.read_at = None
        registrations.tell_owner(session, row)
    _ask_now(service, row)
    return row


def _ask_now(service: Service, row: SupernetRow) -> bool:
    """Ask a worker; False when the queue cannot be reached just now."""
    try:
        _ask(service, row, service.queue.generation())
    except QueueUnavailableError as error:
        log.warning("%s: the queue cannot be reached, its reading waits: %s", row.digest, error)
        return False
    return True


def _ask(service: Service, row: SupernetRow, generation: str) -> None:
    """Ask a worker to read a checkpoint, unless another process has asked since ``row`` was read.

    Raises:
        QueueUnavailableError: the broker cannot be reached.
    """
    with service.database.write() as session:
        if not repository.mark_asked(session, row, clock(session)):
            return
    try:
        service.queue.send(InspectSupernet(supernet_id=row.id, digest=row.digest))
    except QueueUnavailableError:
        with service.database.write() as session:
            repository.mark_unsent(session, row.id)
        raise
    with service.database.write() as session:
        repository.mark_sent(session, row.id, generation)


def ask_again(service: Service) -> None:
    """Ask for every reading whose message was never sent, or is lost.

    Raises:
        QueueUnavailableError: the broker cannot be reached; this must be called again.
    """
    with service.database.read() as session:
        if not (rows := repository.reading(session)):
            return
        moment = clock(session)
        alive = service.present(session).workers
    generation = service.queue.generation()
    held = {job for worker in alive for job in worker.evaluating}
    for row in rows:
        may_be_late = bool(alive) and f"{row.id}/inspection" not in held
        if _is_lost(row, moment, generation, may_be_late=may_be_late):
            _ask(service, row, generation)


def _is_lost(row: SupernetRow, moment: datetime, generation: str, *, may_be_late: bool) -> bool:
    """Whether no message carries a reading, nor is about to."""
    if row.sent_at is None:
        return True
    if row.sent_generation is None:
        return moment - row.sent_at > SENDING
    return row.sent_generation != generation or (may_be_late and moment - row.sent_at > LEASE)


async def until_read(service: Service, supernet_id: str, patience: float) -> None:
    """Wait until a worker has read the checkpoint, or the patience of the client is over.

    It is over sooner when the processes that would read it are not there.
    """
    complete = looked = time.monotonic()
    deadline = complete + min(patience, service.settings.inspection_timeout_seconds)
    while await run_in_threadpool(_is_reading, service, supernet_id):
        if (moment := time.monotonic()) > deadline:
            return
        if moment - looked > LOOK_SECONDS:
            looked = moment
            if await run_in_threadpool(lacking, service) is None:
                complete = moment
            elif moment - complete > PATIENCE_SECONDS:
                return
        await asyncio.sleep(POLL_SECONDS)


def lacking(service: Service) -> str | None:
    """What a reading waits for, in words; None when nothing."""
    with service.database.read() as session:
        return service.present(session).lacking(queue=InspectSupernet.queue)


def _is_reading(service: Service, supernet_id: str) -> bool:
    with service.database.read() as session:
        return repository.state(session, supernet_id) is SupernetState.READING


def _found(service: Service, supernet_id: str) -> SupernetRow:
    with service.database.read() as session:
        row = repository.by_id(session, supernet_id)
    if row is None:
        raise refuse("not-found", f"super-network {supernet_id} was deleted meanwhile")
    return row
