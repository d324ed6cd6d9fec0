"""Blobs on a local disk: a bounded cache that the processes of one machine share."""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from elasticnas.service.blobs.checksum import Verified, sha256_of
from elasticnas.service.blobs.locking import is_still_at, locked
from elasticnas.service.blobs.store import BlobCorruptError, require_digest

log = logging.getLogger(__name__)

ATTEMPTS = 2
"""How often a blob that arrives damaged is fetched before the store is blamed."""


class Source(Protocol):
    """Where a cache gets blobs from."""

    def size(self, digest: str) -> int:
        """How many bytes the blob has; BlobMissingError if there is none."""
        ...

    def download(self, digest: str, file: IO[bytes]) -> None:
        """Write the blob's content to a file."""
        ...


class DiskCache:
    """The most recently used blobs, ``capacity`` bytes of them.

    There is no index and no daemon, only files, and locks that die with their process:

    - a process that uses or writes a file holds a shared lock on it, and evicting a file needs an
      exclusive one, so that what is in use stays, and a killed process keeps nothing;
    - a download goes to ``partial/``, is verified there and renamed, so that entries appear whole;
    - a lock beside the entries lets one process fetch a blob while the others wait for it;
    - an entry's access time says when it was last used, set by hand as file systems are lazy.

    What is in use is not evicted, so that use itself may exceed the bound: by the blobs that are
    open at one moment. They go as soon as their users are done.
    """

    def __init__(self, folder: Path, capacity: int) -> None:
        self._capacity = capacity
        self._entries, self._partial, self._locks = (
            folder / name for name in ("blobs", "partial", "locks")
        )
        for needed in (self._entries, self._partial, self._locks):
            needed.mkdir(parents=True, exist_ok=True)
        self._verified = Verified()

    @contextmanager
    def lease(self, digest: str, source: Source) -> Iterator[Path]:
        """The file with this content, downloaded if need be, there until the block ends.

        Raises:
            BlobMissingError: the source has no such blob.
            BlobCorruptError: what the source has under the digest is something else.
            OSError: the disk is full of what is in use, or of what is not ours.
        """
        path = self._entries / require_digest(digest)[:2] / digest
        descriptor = self._open(path, digest)
        if descriptor is None:
            with locked(self._locks / digest[:2], exclusive=True):
                descriptor = self._open(path, digest)  # another process may have fetched it
                if descriptor is None:
                    descriptor = self._fetch(path, digest, source)
        try:
            yield path
        finally:
            os.close(descriptor)
            self._make_room(0)

    def _open(self, path: Path, digest: str) -> int | None:
        """An intact entry, locked against eviction; None when there is none."""
        descriptor = _lock_in_place(path, os.O_RDONLY)
        if descriptor is None:
            return None
        try:
            if (found := self._verified.mismatch(path, digest)) is None:
                _used_now(path)
                return descriptor
            log.warning("the cached blob %s is damaged (%s) and fetched again", digest, found)
            path.unlink(missing_ok=True)
        except FileNotFoundError:
            log.debug("another process found the damage to %s first", digest)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _fetch(self, path: Path, digest: str, source: Source) -> int:
        """Make the entry, locked against eviction."""
        size = source.size(digest)
        self._make_room(size)
        partial = self._partial / digest
        while (descriptor := _lock_in_place(partial, os.O_RDWR | os.O_CREAT)) is None:
            log.debug("%s was left by a killed process, and evicted as it was opened", partial)
        try:
            self._fill(partial, descriptor, digest, size, source)
            self._verified.trust(partial, digest)
            _used_now(partial)
            path.parent.mkdir(exist_ok=True)
            partial.rename(path)
            self._make_room(0)  # processes that made room at once may have made it for one only
        except BaseException:
            partial.unlink(missing_ok=True)
            os.close(descriptor)
            raise
        return descriptor

    def _fill(self, partial: Path, descriptor: int, digest: str, size: int, source: Source) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            with os.fdopen(descriptor, "r+b", closefd=False) as file:
                file.truncate(0)
                if size:  # a full disk shows now, and not after gigabytes
                    os.posix_fallocate(descriptor, 0, size)
                source.download(digest, file)
            if (found := sha256_of(partial)) == digest:
                return
            log.warning("blob %s arrived damaged (%s), attempt %d", digest, found, attempt)
        raise BlobCorruptError(digest, source, found)

    def _make_room(self, size: int) -> None:
        """Evict, the least recently used first, until ``size`` more bytes fit.

        Abandoned downloads go too: nobody holds their locks.
        """
        found = []
        for path in itertools.chain(self._entries.glob("*/*"), self._partial.iterdir()):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append((status.st_atime_ns, status.st_size, path))
        excess = sum(size for _, size, _ in found) + size - self._capacity
        for _, freed, path in sorted(found):
            if excess <= 0:
                return
            if _evict(path):
                excess -= freed


def _lock_in_place(path: Path, flags: int) -> int | None:
    """The file, open and with a shared lock; None when it is not there, or evicted meanwhile."""
    try:
        descriptor = os.open(path, flags, 0o644)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if is_still_at(descriptor, path):
            return descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _evict(path: Path) -> bool:
    """Delete a file that nobody has locked; whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_still_at(descriptor, path):
            path.unlink()
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _used_now(path: Path) -> None:
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
