"""What a worker needs of blob storage."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from elasticnas.api_schemas.manifests import Manifest


class BlobStore(Protocol):
    """Content-addressed files; the process that starts a worker brings the implementation."""

    def lease(self, digest: str) -> AbstractContextManager[Path]:
        """A verified local file with this sha256, readable until the block ends.

        Raises an error that names digest and store when it is missing or damaged there.
        """
        ...

    def store(self, path: Path) -> tuple[str, int]:
        """Move a local file in; its digest and its size in bytes."""
        ...


@contextmanager
def checkpoint(digest: str, blobs: BlobStore, scratch: Path) -> Iterator[Path]:
    """The checkpoint with this manifest digest, as a folder that is there until the block ends.

    It is made of links to leased blobs: nothing is copied, and no cache drops a file that is being
    read. Tensors that map their file outlive the block, as a mapping outlives its file's name.

    Raises:
        OSError, or what else the store raises: a blob is missing, damaged or out of reach.
    """
    with blobs.lease(digest) as path:
        manifest = Manifest.model_validate_json(path.read_bytes())
    scratch.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=scratch)))
        for name, entry in manifest.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(stack.enter_context(blobs.lease(entry.sha256)).resolve())
        yield folder


def sweep(folder: Path, older_than_seconds: float) -> None:
    """Delete what killed workers left in a scratch folder, which other workers may be using."""
    before = time.time() - older_than_seconds
    for entry in folder.glob("*"):
        if entry.lstat().st_mtime < before:
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
