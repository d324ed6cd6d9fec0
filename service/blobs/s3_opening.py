"""Connecting to S3, and saying which setting is at fault when that fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    PartialCredentialsError,
)

from elasticnas.api_schemas.problems import InputError
from elasticnas.service.blobs.cache import DiskCache
from elasticnas.service.blobs.s3 import S3Blobs, is_absent
from elasticnas.service.blobs.settings import BlobSettings

BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def open_s3(settings: BlobSettings) -> S3Blobs:
    """The store in the bucket that the settings name, which answers.

    Raises:
        InputError: see `make_blobs`.
    """
    bucket, prefix = _parse(settings.blobs_url or "")
    client = _client(settings)
    with _explained(bucket, settings):
        client.head_bucket(Bucket=bucket)
    cache = DiskCache(settings.resolved_blob_cache_dir, settings.blob_cache_bytes)
    return S3Blobs(client, bucket, prefix, cache)


def create_bucket(settings: BlobSettings) -> tuple[str, bool]:
    """Make sure that the bucket exists: its name, and whether it was made just now.

    Raises:
        InputError: the settings name no bucket, the credentials are missing or refused, or the
            endpoint does not answer.
    """
    bucket, _ = _parse(settings.blobs_url or "")
    client = _client(settings)
    with _explained(bucket, settings):
        try:
            client.head_bucket(Bucket=bucket)
        except ClientError as error:
            if not is_absent(error):
                raise
        else:
            return bucket, False
        region = settings.blobs_region or client.meta.region_name
        wanted: dict[str, Any] = {"Bucket": bucket}
        if region not in (None, "us-east-1", "aws-global"):  # these may not be named
            wanted["CreateBucketConfiguration"] = {"LocationConstraint": region}
        client.create_bucket(**wanted)
    return bucket, True


def _client(settings: BlobSettings) -> Any:
    addressing = settings.blobs_addressing
    if addressing == "auto" and settings.blobs_endpoint_url is not None:
        addressing = "path"
    try:
        return boto3.session.Session().client(
            "s3",
            endpoint_url=settings.blobs_endpoint_url,
            region_name=settings.blobs_region,
            config=Config(
                connect_timeout=5,
                read_timeout=30,
                retries={"mode": "standard", "total_max_attempts": 4},
                max_pool_connections=32,
                s3={"addressing_style": addressing},
            ),
        )
    except (ValueError, BotoCoreError) as error:
        raise InputError(
            f"no client can be made for this endpoint: {error}",
            field="blobs_endpoint_url",
            value=settings.blobs_endpoint_url,
            remedy="set ELASTICNAS_BLOBS_ENDPOINT_URL to one such as http://seaweedfs:8333",
        ) from error


@contextmanager
def _explained(bucket: str, settings: BlobSettings) -> Iterator[None]:
    """What goes wrong in the block, as an error that says which setting is at fault."""
    try:
        yield
    except ClientError as error:
        raise _refused(error, bucket, settings) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise InputError(
            f"there are no credentials for this store: {error}",
            field="blobs_url",
            value=settings.blobs_url,
            remedy="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
        ) from error
    except BotoCoreError as error:
        raise InputError(
            f"the store does not answer: {error}",
            field="blobs_endpoint_url",
            value=settings.blobs_endpoint_url or "AWS's own",
            remedy="start it, or set ELASTICNAS_BLOBS_ENDPOINT_URL to where it is",
        ) from error


def _parse(url: str) -> tuple[str, str]:
    """Bucket and prefix of ``s3://bucket/prefix``."""
    parts = urlsplit(url)
    plain = not (parts.query or parts.fragment)
    if parts.scheme != "s3" or BUCKET.fullmatch(parts.netloc) is None or not plain:
        raise InputError(
            "this does not name a bucket",
            field="blobs_url",
            value=url,
            remedy="set ELASTICNAS_BLOBS_URL to s3://bucket or s3://bucket/prefix, or leave it "
            "unset for a local folder",
        )
    return parts.netloc, parts.path.strip("/")


def _refused(error: ClientError, bucket: str, settings: BlobSettings) -> InputError:
    if is_absent(error):
        return InputError(
            f"there is no bucket {bucket}",
            field="blobs_url",
            value=settings.blobs_url,
            remedy="create it (elasticnas create-bucket), or set ELASTICNAS_BLOBS_URL to one that "
            "exists",
        )
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if status in (301, 400):
        return InputError(
            f"the bucket {bucket} is not answered for in this region: {error}",
            field="blobs_region",
            value=settings.blobs_region,
            remedy="set ELASTICNAS_BLOBS_REGION to the bucket's region",
        )
    return InputError(
        f"the store refuses access to the bucket {bucket}: {error}",
        field="blobs_url",
        value=settings.blobs_url,
        remedy="check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and that they may list, read, write "
        "and delete in this bucket",
    )
