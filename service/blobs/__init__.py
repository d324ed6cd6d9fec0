"""Blob storage: content-addressed files in a local folder or an S3-compatible store."""

from service.blobs.local import LocalBlobs
from service.blobs.opening import make_blobs
from service.blobs.settings import BlobSettings
from service.blobs.store import BlobStore

__all__ = ["BlobSettings", "BlobStore", "LocalBlobs", "make_blobs"]
