"""One collection: which blobs nothing refers to, and the deletion of those marked long ago."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from elasticnas.service.blobs.folder import read_manifest
from elasticnas.service.blobs.store import BlobStore
from elasticnas.service.database import Database, clock, now
from elasticnas.service.datasets import repository as datasets
from elasticnas.service.exports import repository as exports
from elasticnas.service.jobs import repository as jobs
from elasticnas.service.orphans import ownership, repository
from elasticnas.service.orphans.ownership import Standing
from elasticnas.service.searches import evaluation_repository as evaluations
from elasticnas.service.supernets import repository as supernets


@dataclass(frozen=True)
class Outcome:
    """What a collection did.

    Nothing, if there is a ``refusal`` that says why not, or if another process of this installation
    begins a collection at this moment (``begun_elsewhere``).
    """

    deleted: int = 0
    marked: int = 0
    refusal: str | None = None
    begun_elsewhere: bool = False


@dataclass(frozen=True)
class Review:
    """What a collection would do now.

    ``orphans`` are the blobs without a reference, each with the moment it was marked, or None when
    the next collection would mark it; it would delete the ``deletable`` ones.
    ``missing`` are blobs that the database refers to and the store does not hold.
    """

    standing: Standing
    referenced: int
    orphans: Mapping[str, datetime | None]
    deletable: tuple[str, ...]
    missing: tuple[str, ...]


def collect(
    database: Database,
    blobs: BlobStore,
    grace: timedelta,
    *,
    stopping: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Mark the blobs that no row refers to; delete the ones that were marked ``grace`` ago.

    A blob is deleted if it had no reference when it was marked and has none now, so a collection
    never deletes what it is the first to find. Nothing is deleted unless this installation is
    alone in its store (see `ownership`).

    Why this never takes a blob that is needed: an upload stores its blobs first and commits
    the row that refers to them later, but less than ``grace`` later. Let it have stored a blob at
    the moment t.

    - The row is committed before the references are read here: the blob is referred to.
    - It is committed after: then less than ``grace`` has passed since t, so the blob is too young,
      even when the same content had been lying there for long, as storing it again makes it young.
      And if t falls between the listing here and the deletion, `BlobStore.discard` looks at the
      age once more, in a way that excludes a `BlobStore.store` of the same content.

    Raises:
        BlobError: the store does not answer, or a super-network's manifest cannot be read, so that
            nobody knows which files it names. Nothing is deleted then: they may be all that is
            left to repair it from.
    """
    found = ownership.take_turn(database, blobs)
    if found is None:
        return Outcome(begun_elsewhere=True)
    if found.refusal is not None:
        return Outcome(refusal=found.refusal)
    before = now() - grace
    blobs.discard_unfinished(before)
    stale = set(blobs.stored_before(before))
    orphans = stale - _referenced(database, blobs) if stale else set()
    with database.write() as session:
        repository.installation(session, lock=True)  # two servers may be marking at once
        moment = clock(session)
        marked = repository.marks(session)
        repository.unmark(session, marked.keys() - orphans)
        repository.mark(session, orphans - marked.keys(), moment)
    deleted = 0
    for digest in _deletable(orphans, marked, moment - grace):
        if stopping():
            break
        deleted += blobs.discard(digest, before)
    return Outcome(deleted=deleted, marked=len(orphans - marked.keys()))


def review(database: Database, blobs: BlobStore, grace: timedelta) -> Review:
    """What a collection would do now; nothing is changed.

    Raises:
        BlobError: as `collect`.
    """
    found = ownership.standing(database, blobs)
    referenced = _referenced(database, blobs)
    everything = set(blobs.stored_before(now() + timedelta(days=1)))
    stale = set(blobs.stored_before(now() - grace)) - referenced
    with database.read() as session:
        marked, moment = repository.marks(session), clock(session)
    deletable = () if found.refusal is not None else _deletable(stale, marked, moment - grace)
    return Review(
        standing=found,
        referenced=len(referenced),
        orphans={digest: marked.get(digest) for digest in sorted(stale)},
        deletable=tuple(deletable),
        missing=tuple(sorted(referenced - everything)),
    )


def refers_to_a_blob_in(database: Database, blobs: BlobStore) -> bool:
    """Whether the store holds anything that this database knows."""
    with database.read() as session:
        known = {*supernets.digests(session), *datasets.digests(session)}
    return any(blobs.exists(digest) for digest in known)


def _deletable(
    orphans: set[str], marked: Mapping[str, datetime], marked_before: datetime
) -> list[str]:
    return sorted(d for d in orphans if d in marked and marked[d] <= marked_before)


def _referenced(database: Database, blobs: BlobStore) -> set[str]:
    """Every digest that a row names, directly or through a manifest."""
    with database.read() as session:
        manifests = supernets.digests(session) | jobs.manifests(session)
        digests = {*manifests, *datasets.digests(session), *exports.digests(session)}
        digests |= evaluations.weights(session)
    for manifest in manifests:
        digests.update(file.sha256 for file in read_manifest(blobs, manifest).files.values())
    return digests
