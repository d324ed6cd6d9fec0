"""Whose blobs a store holds: only an installation that is alone in its store may delete there.

A database cannot know which blobs are another's, so the store itself says who uses it. Every
installation that starts on a store leaves a signature there, named by its id, before it stores
anything. An installation that finds another signature beside its own deletes nothing.

An installation may delete only what came after it. So its signature carries a token if the store
was empty when it signed (or an operator has said since that everything there is its own), and none
otherwise: a new database on an old bucket deletes nothing.

Each collection puts a new token in the place of the old one, here and in the database. If the two
differ, one of them is not what it was: the database was restored from a backup, or the bucket was,
or a copy of the database is running somewhere and collects, too. The token is then taken off the
signature, which stops the copy as well, since it finds no token when its turn comes. It has deleted
nothing by then: a blob is deleted a day after it was marked, and turns come every hour. What was
backed up and restored between two turns has the same token; an operator holds the store, then.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from pydantic import BaseModel

from elasticnas.service.blobs.store import BlobStore
from elasticnas.service.database import Database, clock
from elasticnas.service.orphans import repository
from elasticnas.service.orphans.tables import InstallationRow

TURN = timedelta(minutes=10)
"""How long changing the token takes at the very most: two requests to the store, each repeated."""


HELD_BLOBS = "the store held blobs before this database did"
ANOTHER_STORE = "this installation has not signed in the store: it is another one, or was restored"
ANOTHER_MOMENT = (
    "store and database do not belong to the same moment: one of them was restored from a backup, "
    "or a copy of the database is in use with this store"
)


HELD = "an operator holds it, as after a restore"


class Signature(BaseModel):
    """What an installation says of itself in a store.

    Without ``token`` it may not delete there, and ``reason`` says why.
    """

    token: str | None = None
    reason: str = HELD_BLOBS
    host: str = ""


@dataclass(frozen=True)
class Standing:
    """What an installation may do in a store: delete, unless there is a ``refusal``.

    ``refusal`` is a sentence that says why not, and ``others`` are the ids of the other
    installations that use the store.
    """

    installation: str
    refusal: str | None
    others: tuple[str, ...] = ()


def sign(database: Database, blobs: BlobStore, *, names_its_blobs: bool = False) -> None:
    """Leave this installation's signature in the store, unless it is there.

    ``names_its_blobs`` says that the blobs in the store are known to be this database's, though
    nobody has signed there: a version before this one wrote them.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    with database.read() as session:
        mine = repository.installation(session)
    # Looked at before the signatures: an installation signs before it stores its first blob.
    is_empty = blobs.is_empty()
    if mine.id in blobs.signatures():
        return
    with _turn(database) as mine_now:
        if mine_now is None:
            return  # another process of this installation is signing
        found = blobs.signatures()
        if mine_now.id not in found:
            is_alone = not found and (is_empty or names_its_blobs)
            _write(blobs, mine_now.id, mine_now.token if is_alone else None)


def standing(database: Database, blobs: BlobStore) -> Standing:
    """What this installation may do in the store; nothing is changed."""
    with database.read() as session:
        mine = repository.installation(session)
    return _judge(mine.id, _tokens(mine), _read(blobs))


def take_turn(database: Database, blobs: BlobStore) -> Standing | None:
    """What this installation may do in the store, and a new token if it may delete.

    None when another process of this installation is at it.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    with _turn(database) as mine:
        if mine is None:
            return None
        signatures = _read(blobs)
        found = _judge(mine.id, _tokens(mine), signatures)
        signature = signatures.get(mine.id)
        if found.refusal is None:
            _renew(database, blobs, signatures[mine.id].token)
        elif signature is None:
            _write(blobs, mine.id, None, reason=ANOTHER_STORE)
        elif signature.token not in {*_tokens(mine), None}:
            _write(blobs, mine.id, None, reason=ANOTHER_MOMENT)
        return found


def hold(database: Database, blobs: BlobStore) -> None:
    """Have nothing deleted in the store until it is claimed: for what comes after a restore.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    with database.read() as session:
        mine = repository.installation(session)
    _write(blobs, mine.id, None, reason=HELD)


def claim(database: Database, blobs: BlobStore) -> bool:
    """Make this installation the only one in the store, and all that is there its own.

    Marks are taken off: nothing is deleted before it was found without a reference anew. False
    when another process of this installation begins a collection; then nothing is changed.

    Raises:
        StoreUnavailableError: the store does not answer.
    """
    with _turn(database) as mine:
        if mine is None:
            return False
        with database.write() as session:
            repository.unmark(session)
        for other in set(blobs.signatures()) - {mine.id}:
            blobs.withdraw_signature(other)
        _renew(database, blobs, mine.token)
        return True


@contextmanager
def _turn(database: Database) -> Iterator[InstallationRow | None]:
    """Keep other processes of this installation from changing the token; None if one is at it."""
    with database.write() as session:
        mine = repository.installation(session, lock=True)
        moment = clock(session)
        is_taken = mine.turn_until is not None and mine.turn_until > moment
        until = moment + TURN
        if not is_taken:
            mine.turn_until = until
    if is_taken:
        yield None
        return
    try:
        yield mine
    finally:
        with database.write() as session:
            row = repository.installation(session, lock=True)
            if row.turn_until == until:  # else it took too long, and another has taken its turn
                row.turn_until = None


def _tokens(mine: InstallationRow) -> set[str]:
    return {token for token in (mine.token, mine.next_token) if token is not None}


def _renew(database: Database, blobs: BlobStore, token: str | None) -> None:
    """Put a new token in the place of ``token``; killed at any point, one of the two is valid."""
    fresh = uuid.uuid4().hex
    with database.write() as session:
        mine = repository.installation(session, lock=True)
        mine.token, mine.next_token = token or mine.token, fresh
    _write(blobs, mine.id, fresh)
    with database.write() as session:
        mine = repository.installation(session, lock=True)
        mine.token, mine.next_token = fresh, None


def _judge(mine: str, known: set[str], signatures: Mapping[str, Signature]) -> Standing:
    others = tuple(sorted(set(signatures) - {mine}))
    signature = signatures.get(mine)
    if others:
        hosts = ", ".join(
            f"{other} ({signatures[other].host or 'host unknown'})" for other in others
        )
        refusal = f"this store is also used by {hosts}; give each installation a prefix of its own"
    elif signature is None:
        refusal = ANOTHER_STORE
    elif signature.token is None:
        refusal = signature.reason
    elif signature.token not in known:
        refusal = ANOTHER_MOMENT
    else:
        refusal = None
    return Standing(mine, refusal, others)


def _read(blobs: BlobStore) -> dict[str, Signature]:
    return {
        name: Signature.model_validate_json(content) for name, content in blobs.signatures().items()
    }


def _write(
    blobs: BlobStore, installation: str, token: str | None, *, reason: str = HELD_BLOBS
) -> None:
    signature = Signature(token=token, reason=reason, host=socket.gethostname())
    content = signature.model_dump_json(exclude=set() if token is None else {"reason"})
    blobs.put_signature(installation, content.encode())
