"""Blob stores of either kind, and what tests do to them behind their backs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from elasticnas.service.blobs import BlobSettings, BlobStore, LocalBlobs, make_blobs
from elasticnas.service.database import now
from tests.s3 import S3_SERVERS, S3Server


@dataclass
class Bench:
    """A store that may be opened several times, as if by several processes."""

    settings: BlobSettings
    store: BlobStore
    folder: Path
    client: Any = None
    bucket: str = ""

    def again(self) -> BlobStore:
        """The same store as another process sees it, with a cache of its own."""
        cache = self.folder / f"cache-{os.urandom(4).hex()}"
        return make_blobs(self.settings.model_copy(update={"blob_cache_dir": cache}))

    def file(self, content: str | bytes, name: str = "file") -> Path:
        """A new file with this content."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def put(self, content: str | bytes) -> str:
        """Store this content; its digest."""
        return self.store.store(self.file(content))[0]

    def damage(self, digest: str, content: bytes) -> None:
        """Put other content where the blob is kept."""
        if isinstance(self.store, LocalBlobs):
            self.store.path(digest).write_bytes(content)
        else:
            self.client.put_object(Bucket=self.bucket, Key=f"nas/blobs/{digest}", Body=content)

    def names(self) -> list[str]:
        """Everything in the store, apart from the lock of a local one."""
        if isinstance(self.store, LocalBlobs):
            root = self.settings.blob_dir
            return sorted(p.name for p in root.rglob("*") if p.is_file() and p.name != "lock")
        found = self.client.list_objects_v2(Bucket=self.bucket).get("Contents", ())
        return sorted(entry["Key"].rpartition("/")[2] for entry in found)


LATER = timedelta(hours=1)


@pytest.fixture(params=["local", *S3_SERVERS])
def bench(request: pytest.FixtureRequest, credentials: None, tmp_path: Path) -> Bench:  # noqa: ARG001
    """An empty store of each kind."""
    if request.param == "local":
        settings = BlobSettings(data_dir=tmp_path / "data")
        return Bench(settings, make_blobs(settings), tmp_path)
    return s3_bench(request.getfixturevalue(request.param), tmp_path)


@pytest.fixture
def on_s3(s3: S3Server, tmp_path: Path) -> Bench:
    """An empty store in a bucket."""
    return s3_bench(s3, tmp_path)


def s3_bench(s3: S3Server, folder: Path) -> Bench:
    bucket = s3.bucket()
    settings = BlobSettings(
        data_dir=folder / "data",
        blobs_url=f"s3://{bucket}/nas/",
        blobs_endpoint_url=s3.url,
        blobs_region="us-east-1",
    )
    return Bench(settings, make_blobs(settings), folder, s3.client(), bucket)


def soon():
    """A moment by which everything stored so far is old."""
    return now() + LATER


@contextmanager
def mounted_small_disk(folder: Path) -> Iterator[Path]:
    """A file system of one mebibyte at this folder."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
