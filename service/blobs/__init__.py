"""Blob storage: content-addressed files in a local folder or an S3-compatible store."""

from elasticnas.service.blobs.local import LocalBlobs
from elasticnas.service.blobs.opening import make_blobs
from elasticnas.service.blobs.settings import BlobSettings
from elasticnas.service.blobs.store import BlobStore

__all__ = ["BlobSettings", "BlobStore", "LocalBlobs", "make_blobs"]
