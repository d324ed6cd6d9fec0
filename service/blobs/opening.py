"""From settings to the blob store that they mean."""

from __future__ import annotations

from elasticnas.service.blobs.local import LocalBlobs
from elasticnas.service.blobs.settings import BlobSettings
from elasticnas.service.blobs.store import BlobStore


def make_blobs(settings: BlobSettings) -> BlobStore:
    """The store that the settings describe, known to answer.

    Raises:
        InputError: the URL is not one of S3, the bucket does not exist, the credentials are
            missing or refused, or the endpoint does not answer.
    """
    if settings.blobs_url is None:
        return LocalBlobs(settings.blob_dir)
    from elasticnas.service.blobs.s3_opening import (
        open_s3,  # only now: boto3 takes a third of a second
    )

    return open_s3(settings)
