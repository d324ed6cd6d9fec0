"""A folder stored as one blob per file."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel


class ManifestFile(BaseModel):
    """One file of a folder: the digest of its content, and its size in bytes."""

    sha256: str
    size: int


class Manifest(BaseModel):
    """The files of a folder by relative path. Itself a blob, whose digest names the folder."""

    files: dict[str, ManifestFile]

    @property
    def size(self) -> int:
        """The bytes of all files together."""
        return sum(file.size for file in self.files.values())


class FileStore(Protocol):
    """Where files are stored by the digest of their content."""

    def store(self, path: Path) -> tuple[str, int]:
        """Move a local file in; its digest and its size in bytes."""
        ...


def store_folder(files: FileStore, folder: Path) -> tuple[str, Manifest]:
    """Move every file of a folder in, and then the manifest.

    Returns the manifest's digest with the manifest. Equal folders have one digest.

    Raises:
        OSError: there is no room left, or what else the store raises.
    """
    found: dict[str, ManifestFile] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest, size = files.store(path)
        found[path.relative_to(folder).as_posix()] = ManifestFile(sha256=digest, size=size)
    manifest = Manifest(files=found)
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as written:
        json.dump(manifest.model_dump(), written, sort_keys=True, separators=(",", ":"))
    digest, _ = files.store(Path(written.name))
    return digest, manifest
