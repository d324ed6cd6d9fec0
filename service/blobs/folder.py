"""Folders that are stored as one blob for each file."""

from __future__ import annotations

from elasticnas.api_schemas.manifests import Manifest
from elasticnas.service.blobs.store import BlobStore


def read_manifest(blobs: BlobStore, digest: str) -> Manifest:
    """The manifest with this digest.

    Raises:
        BlobMissingError, BlobCorruptError: there is none.
    """
    with blobs.lease(digest) as path:
        return Manifest.model_validate_json(path.read_bytes())
