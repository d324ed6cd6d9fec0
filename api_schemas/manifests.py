"""A folder stored as one blob per file."""

from __future__ import annotations

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
