"""A folder as blobs: one for each file, and a manifest that names them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from elasticnas.api_schemas.manifests import Manifest, ManifestFile
from elasticnas.service.blobs.store import BlobStore


def store_folder(blobs: BlobStore, folder: Path) -> tuple[str, Manifest]:
    """Move every file of a folder in, and then the manifest.

    Returns the manifest's digest with the manifest. Equal folders have one digest.

    Raises:
        OSError: there is no room left.
        StoreUnavailableError: the store does not answer.
    """
    files: dict[str, ManifestFile] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest, size = blobs.store(path)
        files[path.relative_to(folder).as_posix()] = ManifestFile(sha256=digest, size=size)
    manifest = Manifest(files=files)
    with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as written:
        json.dump(manifest.model_dump(), written, sort_keys=True, separators=(",", ":"))
    digest, _ = blobs.store(Path(written.name))
    return digest, manifest


def read_manifest(blobs: BlobStore, digest: str) -> Manifest:
    """The manifest with this digest.

    Raises:
        BlobMissingError, BlobCorruptError: there is none.
    """
    with blobs.lease(digest) as path:
        return Manifest.model_validate_json(path.read_bytes())
