"""The service on S3, and on a disk that is full."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from elasticnas.api_schemas.problems import InputError
from elasticnas.service.blobs import make_blobs
from elasticnas.service.database import Database
from elasticnas.service.settings import ServiceSettings
from tests.s3 import Moto, S3Server
from tests.service.blobs.conftest import mounted_small_disk
from tests.service.exports.test_endpoints import built
from tests.service.orphans.test_collection import AT_ONCE, collection, stored
from tests.service.running import Running, running_service, tar_of


def settings_for(s3: S3Server, bucket: str) -> dict[str, str]:
    return {
        "blobs_url": f"s3://{bucket}/nas",
        "blobs_endpoint_url": s3.url,
        "blobs_region": "us-east-1",
    }


@pytest.fixture
def on_s3(s3: S3Server, sqlite_url: str, tmp_path: Path) -> Iterator[Running]:
    with running_service(sqlite_url, tmp_path, **settings_for(s3, s3.bucket())) as running:
        yield running


def test_weights_from_s3_keep_etag_and_range(on_s3: Running):
    search = on_s3.wait(on_s3.search(budget={"evaluations": 3}))
    url = f"/v1/searches/{search['id']}/subnets/1/weights"
    whole = built(on_s3, url)
    assert whole.status_code == 200
    etag = whole.headers["etag"]
    part = on_s3.client.get(url, headers={"Range": "bytes=10-19", "If-Range": etag})
    assert part.status_code == 206
    assert part.content == whole.content[10:20]
    assert on_s3.client.get(url, headers={"If-None-Match": etag}).status_code == 304
    beyond = on_s3.client.get(url, headers={"Range": f"bytes={len(whole.content)}-"})
    assert beyond.status_code == 416
    assert not on_s3.settings.blob_dir.exists()


def test_orphans_in_s3_are_collected(on_s3: Running):
    blobs = make_blobs(on_s3.settings)
    kept = on_s3.supernet()
    needed = stored(blobs)
    deleted = on_s3.dataset()
    on_s3.client.delete(f"/v1/datasets/{deleted}")
    database = Database(on_s3.settings.resolved_database_url)
    assert [collection(database, blobs, AT_ONCE).deleted for _ in range(2)] == [0, 1]
    assert stored(blobs) == needed
    on_s3.client.delete(f"/v1/supernets/{kept}")
    assert [collection(database, blobs, AT_ONCE).deleted for _ in range(2)] == [0, 2]
    database.close()


@pytest.mark.usefixtures("credentials")
def test_a_store_that_is_away_is_a_503_and_registers_nothing(sqlite_url: str, tmp_path: Path):
    server = Moto().start()
    try:
        settings = settings_for(server, server.bucket())
        with running_service(sqlite_url, tmp_path, **settings) as running:
            server.kill()
            answer = running.client.post(
                "/v1/supernets?wait=60", files={"archive": ("n.tar", tar_of({"base/x": "1"}))}
            )
            assert answer.status_code == 503
            assert answer.json()["type"] == "/problems/storage-unavailable"
            assert settings["blobs_url"] in answer.json()["detail"]
            assert running.get("/v1/supernets")["items"] == []
    finally:
        server.kill()


def test_a_damaged_archive_names_its_digest(light_service: Running):
    search = light_service.wait(light_service.search(budget={"evaluations": 2}))
    url = f"/v1/searches/{search['id']}/subnets/1/weights"
    light_service.until(lambda: light_service.client.get(url).status_code == 200)
    digest = light_service.client.get(url).headers["etag"].strip('"')
    path = light_service.settings.blob_dir / digest[:2] / digest[2:4] / digest
    path.write_bytes(b"damaged")
    answer = light_service.client.get(url)
    assert answer.status_code == 500
    assert answer.json()["type"] == "/problems/storage-damaged"
    assert digest in answer.json()["detail"]


def test_a_short_grace_is_refused():
    with pytest.raises(ValueError, match="orphan_grace_seconds"):
        ServiceSettings(orphan_grace_seconds=60)
    with pytest.raises(ValueError, match="less than twice in 3600 seconds"):
        ServiceSettings(orphan_grace_seconds=3600)  # the interval is an hour, too
    ServiceSettings(orphan_grace_seconds=3600, orphan_interval_seconds=1800)


@pytest.mark.usefixtures("s3")
def test_the_service_does_not_start_on_a_bucket_that_is_not_there(
    s3: S3Server, sqlite_url: str, tmp_path: Path
):
    with (
        pytest.raises(InputError, match="there is no bucket nose"),
        running_service(sqlite_url, tmp_path, **settings_for(s3, "nose")),
    ):
        pass


@pytest.fixture
def full(sqlite_url: str, tmp_path: Path) -> Iterator[Running]:
    """A service with its data, but not its database, on a disk of one mebibyte."""
    (tmp_path / "data").mkdir()
    with (
        mounted_small_disk(tmp_path / "data"),
        running_service(sqlite_url, tmp_path) as running,
    ):
        yield running


def test_a_checkpoint_that_does_not_fit_is_a_507_and_registers_nothing(full: Running):
    for size in (400_000, 3_000_000):  # too large to be unpacked; too large to be received
        archive = tar_of({"base/x": os.urandom(size), "base/y": os.urandom(size)})
        answer = full.client.post("/v1/supernets?wait=60", files={"archive": ("n.tar", archive)})
        assert answer.status_code == 507, answer.text
        assert answer.json()["type"] == "/problems/storage-full"
        assert full.get("/v1/supernets")["items"] == []
        assert list(full.settings.incoming_dir.iterdir()) == []
    assert full.supernet()  # there is room again


def test_a_dataset_that_does_not_fit_is_a_507_and_registers_nothing(full: Running):
    rows = b'{"sentence": "good", "label": 1}\n' * 100_000
    answer = full.client.post(
        "/v1/datasets",
        data={"task": "text-classification", "text_columns": "sentence", "label_column": "label"},
        files={"file": ("d.jsonl", rows)},
    )
    assert answer.status_code == 507, answer.text
    assert answer.json()["type"] == "/problems/storage-full"
    assert full.get("/v1/datasets")["items"] == []
    assert full.dataset()


def fill(disk: Path) -> Path:
    """A file that leaves no room on the disk."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler


def test_a_database_without_room_is_a_507(tmp_path: Path):
    (tmp_path / "data").mkdir()
    with mounted_small_disk(tmp_path / "data") as disk:
        url = f"sqlite:///{disk / 'test.db'}"
        with running_service(url, tmp_path) as running:
            filler = fill(disk)
            answer = running.client.post(
                "/v1/supernets?wait=60", files={"archive": ("n.tar", tar_of({"base/x": "1"}))}
            )
            assert answer.status_code == 507, answer.text
            filler.unlink()
            assert running.get("/v1/supernets")["items"] == []
            assert running.supernet()
