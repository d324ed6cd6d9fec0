"""Content-addressed files in a local folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from elasticnas.service.blobs.checksum import Verified, sha256_of
from elasticnas.service.blobs.locking import locked
from elasticnas.service.blobs.store import (
    DIGEST,
    SIGNER,
    BlobCorruptError,
    BlobMissingError,
    require_digest,
    require_signer,
)


class LocalBlobs:
    """Files named by the SHA-256 of their content, fanned out over two levels of folders.

    A file appears under its name only once it is complete and on disk (fsync, then an atomic
    rename), so a reader finds only whole files. Each process verifies a blob when it first reads
    it. The folder may be a network share, if that carries locks.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._staging = root / "staging"
        self._staging.mkdir(parents=True, exist_ok=True)
        self._signatures = root / "installations"
        self._lock = root / "lock"
        self._verified = Verified()

    def path(self, digest: str) -> Path:
        """Where the blob with this digest lies, or would lie."""
        require_digest(digest)
        return self._root / digest[:2] / digest[2:4] / digest

    def exists(self, digest: str) -> bool:
        """Whether the blob is stored."""
        return self.path(digest).is_file()

    @contextmanager
    def lease(self, digest: str) -> Iterator[Path]:
        """The blob's own file. Only the collection of orphans ever deletes it."""
        path = self.path(digest)
        try:
            found = self._verified.mismatch(path, digest)
        except FileNotFoundError:
            raise BlobMissingError(digest, self._root) from None
        if found is not None:
            raise BlobCorruptError(digest, self._root, found)
        yield path

    def store(self, path: Path) -> tuple[str, int]:
        """Move a file in: renamed when it lies on the same volume, else copied."""
        staged = self._stage(path)
        try:
            size, digest = staged.stat().st_size, sha256_of(staged)
            target = self.path(digest)
            target.parent.mkdir(parents=True, exist_ok=True)
            # A copy that was there is replaced, not kept: that heals it if it was damaged, and
            # makes it young. Holding the lock from before it is young until it has its name means
            # that `discard` sees either the young file, which it leaves, or the old one before it
            # was replaced, which it may delete.
            with locked(self._lock, exclusive=False):
                os.utime(staged)
                self._verified.trust(staged, digest)
                staged.replace(target)
            _sync(target.parent)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
        return digest, size

    def stored_before(self, moment: datetime) -> Iterator[str]:
        """The digests of all blobs last stored before this moment."""
        for path in self._files():
            if _is_older(path, moment):
                yield path.name

    def discard(self, digest: str, before: datetime) -> bool:
        """Delete a blob unless it was stored again since ``before``."""
        path = self.path(digest)
        with locked(self._lock, exclusive=True):
            if not _is_older(path, before):
                return False
            path.unlink()
        return True

    def discard_unfinished(self, before: datetime) -> None:
        """Delete staged files that nobody has written to since this moment."""
        for path in self._staging.iterdir():
            if _is_older(path, before):
                path.unlink(missing_ok=True)

    def is_empty(self) -> bool:
        """Whether no blob is stored."""
        return next(self._files(), None) is None

    def signatures(self) -> dict[str, bytes]:
        """What the installations that use this folder have written, by their id."""
        if not self._signatures.is_dir():
            return {}
        return {
            path.name: path.read_bytes()
            for path in self._signatures.iterdir()
            if SIGNER.fullmatch(path.name)
        }

    def put_signature(self, signer: str, content: bytes) -> None:
        """Write the signature of one installation: whole or not at all."""
        self._signatures.mkdir(exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._staging)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        _sync(Path(name))
        Path(name).replace(self._signatures / require_signer(signer))
        _sync(self._signatures)

    def withdraw_signature(self, signer: str) -> None:
        """Delete the signature of one installation, if there is one."""
        (self._signatures / require_signer(signer)).unlink(missing_ok=True)

    def _files(self) -> Iterator[Path]:
        return (p for p in self._root.glob("??/??/*") if DIGEST.fullmatch(p.name))

    def _stage(self, path: Path) -> Path:
        """A synced file in the staging folder with the content of ``path``, which is gone."""
        descriptor, name = tempfile.mkstemp(dir=self._staging)
        os.close(descriptor)
        staged = Path(name)
        try:
            if path.stat().st_dev == staged.stat().st_dev:
                path.replace(staged)
            else:
                shutil.copyfile(path, staged)
                path.unlink()
            _sync(staged)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
        return staged


def _is_older(path: Path, moment: datetime) -> bool:
    """Whether the file is there and was last stored before this moment."""
    try:
        return path.stat().st_mtime < moment.timestamp()
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    """Make a file's content, or a rename in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
