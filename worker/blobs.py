"""What a worker needs of blob storage."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from api_schemas.manifests import Manifest


class BlobStore(Protocol):
    """Content-addressed files; the process that starts a worker brings the implementation."""

    def fetch(self, digest: str) -> Path:
        """A readable local file with this sha256; FileNotFoundError if there is none."""
        ...

    def store(self, path: Path) -> tuple[str, int]:
        """Move a local file in; its digest and its size in bytes."""
        ...


def materialise(digest: str, blobs: BlobStore, cache_dir: Path) -> Path:
    """The checkpoint with this manifest digest as a folder of links into the blob store.

    The folder appears whole or not at all, and is reused when it is there.

    Raises:
        FileNotFoundError: a blob is missing.
    """
    folder = cache_dir / digest
    if folder.is_dir():
        return folder
    building = cache_dir / f"{digest}.building"
    manifest = Manifest.model_validate_json(blobs.fetch(digest).read_text())
    for name, entry in manifest.files.items():
        target = building / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(blobs.fetch(entry.sha256).resolve())
    building.rename(folder)
    return folder
