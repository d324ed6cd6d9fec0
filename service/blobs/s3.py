"""Content-addressed files in a bucket of S3, or of a store that speaks its protocol."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from boto3.s3.transfer import S3UploadFailedError, TransferConfig
from botocore.exceptions import BotoCoreError, ClientError
from s3transfer.exceptions import RetriesExceededError

from elasticnas.service.blobs.cache import DiskCache
from elasticnas.service.blobs.checksum import sha256_of
from elasticnas.service.blobs.store import (
    DIGEST,
    BlobMissingError,
    StoreUnavailableError,
    require_digest,
    require_signer,
)

TRANSFER = TransferConfig(multipart_threshold=64 << 20, multipart_chunksize=64 << 20)
"""Large files go in parts of 64 MiB, ten at a time, each of them retried by itself."""

YOUNG = timedelta(minutes=10)
"""Content that was stored this recently is not made younger by storing it again."""

CLAIM_SECONDS = 120.0
"""How long a collector's claim on a blob is believed; see `S3Blobs.discard`."""


class S3Blobs:
    """Blobs are the objects ``<prefix>/blobs/<digest>``, read through a cache on a local disk.

    An object appears whole or not at all, however it is uploaded. Each download is verified.
    """

    def __init__(self, client: Any, bucket: str, prefix: str, cache: DiskCache) -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._cache = cache
        self._name = f"s3://{bucket}/{prefix}".rstrip("/")

    def exists(self, digest: str) -> bool:
        """Whether the blob is stored."""
        return self._head(digest) is not None

    def store(self, path: Path) -> tuple[str, int]:
        """Upload a file, unless its content is there, and delete it."""
        digest, size = sha256_of(path), path.stat().st_size
        with self._answers():
            for _ in range(3):
                if not self._refresh(digest, size):
                    self._client.upload_file(
                        str(path), self._bucket, self._key(digest), Config=TRANSFER
                    )
                self._wait_for_collectors(digest)
                if self.exists(digest):
                    path.unlink()
                    return digest, size
        raise StoreUnavailableError(self._name, f"blob {digest} vanishes as soon as it is stored")

    @contextmanager
    def lease(self, digest: str) -> Iterator[Path]:
        """The blob's file in the cache, which asks for `size` and `download` when it has none."""
        with self._cache.lease(digest, self) as path:
            yield path

    def size(self, digest: str) -> int:
        """How many bytes the blob has.

        Raises:
            BlobMissingError: no such blob is stored.
        """
        if (head := self._head(digest)) is None:
            raise BlobMissingError(digest, self._name)
        return int(head["ContentLength"])

    def download(self, digest: str, file: IO[bytes]) -> None:
        """Write the blob's content to a file, unverified.

        Raises:
            BlobMissingError: no such blob is stored.
        """
        with self._answers(digest):
            self._client.download_fileobj(self._bucket, self._key(digest), file, Config=TRANSFER)

    def __str__(self) -> str:
        return self._name

    def stored_before(self, moment: datetime) -> Iterator[str]:
        """The digests of all blobs last stored before this moment."""
        with self._answers():
            for entry in self._list("blobs/"):
                digest = entry["Key"].rpartition("/")[2]
                if DIGEST.fullmatch(digest) and entry["LastModified"] < moment:
                    yield digest

    def discard(self, digest: str, before: datetime) -> bool:
        """Delete a blob unless it was stored again since ``before``.

        S3 cannot delete an object on condition of its age, so the collector and a process that
        stores the same content at that moment settle it between them: each writes before it reads.

        - the collector puts a claim on the digest, then looks at the blob's age, then deletes;
        - `store` makes the blob young, then waits until there are no claims, then looks whether
          the blob is there, and uploads it again if not.

        Should the collector have seen the old age, its claim was there before the blob became
        young, so `store` either meets the claim and waits, or comes when blob and claim are both
        gone, and sees that. S3's reads see every write that was finished before them. Claims have
        names of their own, so that two collectors do not withdraw each other's. The claim of a
        collector that died is waited for once, for `CLAIM_SECONDS`; one that was held up for half
        that time deletes nothing.
        """
        claim = f"{self._claims(digest)}{uuid.uuid4().hex}"
        with self._answers():
            self._client.put_object(Bucket=self._bucket, Key=claim, Body=b"")
            started = time.monotonic()
            try:
                head = self._head(digest)
                if head is None or head["LastModified"] >= before:
                    return False
                if time.monotonic() - started > CLAIM_SECONDS / 2:
                    return False
                self._client.delete_object(Bucket=self._bucket, Key=self._key(digest))
                return True
            finally:
                self._client.delete_object(Bucket=self._bucket, Key=claim)

    def discard_unfinished(self, before: datetime) -> None:
        """Abort uploads in parts, and withdraw claims, that were begun before this moment."""
        with self._answers():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}blobs/"
            )
            for upload in [u for page in pages for u in page.get("Uploads", ())]:
                if upload["Initiated"] < before:
                    self._client.abort_multipart_upload(
                        Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                    )
            for claim in list(self._list("collecting/")):
                if claim["LastModified"] < before:
                    self._client.delete_object(Bucket=self._bucket, Key=claim["Key"])

    def is_empty(self) -> bool:
        """Whether no blob is stored."""
        with self._answers():
            found = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=f"{self._prefix}blobs/", MaxKeys=1
            )
        return not found.get("Contents")

    def signatures(self) -> dict[str, bytes]:
        """What the installations that use this prefix have written, by their id."""
        found = {}
        with self._answers():
            for entry in self._list("installations/"):
                try:
                    answer = self._client.get_object(Bucket=self._bucket, Key=entry["Key"])
                except ClientError as error:
                    if is_absent(error):
                        continue  # withdrawn meanwhile
                    raise
                found[entry["Key"].rpartition("/")[2]] = answer["Body"].read()
        return found

    def put_signature(self, signer: str, content: bytes) -> None:
        """Write the signature of one installation."""
        with self._answers():
            self._client.put_object(Bucket=self._bucket, Key=self._signature(signer), Body=content)

    def withdraw_signature(self, signer: str) -> None:
        """Delete the signature of one installation, if there is one."""
        with self._answers():
            self._client.delete_object(Bucket=self._bucket, Key=self._signature(signer))

    def _refresh(self, digest: str, size: int) -> bool:
        """Make the blob young if it is there in its full size; whether it is."""
        head = self._head(digest)
        if head is None or head["ContentLength"] != size:
            return False
        if datetime.now(UTC) - head["LastModified"] > YOUNG:
            key = self._key(digest)
            self._client.copy(  # within the store; S3 wants something changed in a copy onto itself
                {"Bucket": self._bucket, "Key": key},
                self._bucket,
                key,
                ExtraArgs={"MetadataDirective": "REPLACE"},
                Config=TRANSFER,
            )
        return True

    def _wait_for_collectors(self, digest: str) -> None:
        deadline = time.monotonic() + CLAIM_SECONDS
        while any(self._list(f"collecting/{digest}/")) and time.monotonic() < deadline:
            time.sleep(0.2)

    def _head(self, digest: str) -> dict[str, Any] | None:
        with self._answers():
            try:
                return dict(self._client.head_object(Bucket=self._bucket, Key=self._key(digest)))
            except ClientError as error:
                if is_absent(error):
                    return None
                raise

    def _list(self, folder: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=f"{self._prefix}{folder}"
        )
        for page in pages:
            yield from page.get("Contents", ())

    def _key(self, digest: str) -> str:
        return f"{self._prefix}blobs/{require_digest(digest)}"

    def _signature(self, signer: str) -> str:
        return f"{self._prefix}installations/{require_signer(signer)}"

    def _claims(self, digest: str) -> str:
        return f"{self._prefix}collecting/{digest}/"

    @contextmanager
    def _answers(self, digest: str | None = None) -> Iterator[None]:
        """The SDK's errors as ours; it has tried several times before it raises one."""
        try:
            yield
        except ClientError as error:
            if digest is not None and is_absent(error):
                raise BlobMissingError(digest, self._name) from error
            raise StoreUnavailableError(self._name, error) from error
        except (BotoCoreError, S3UploadFailedError, RetriesExceededError) as error:
            raise StoreUnavailableError(self._name, error) from error


def is_absent(error: ClientError) -> bool:
    """Whether the store says that there is no such thing."""
    return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] == 404)
