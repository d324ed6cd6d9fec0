"""What nothing refers to is cleared away, and nothing else."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pytest

from service.blobs import BlobStore, LocalBlobs
from service.blobs.store import BlobMissingError
from service.database import Database, now
from service.orphans import collect_orphans, sweep_folder
from tests.service.exports.test_endpoints import built
from tests.service.running import Running, running_service

DAY = timedelta(days=1)
AT_ONCE = timedelta(hours=-1)
"""A grace that has passed for everything, whatever the clocks."""


def blobs_of(running: Running) -> LocalBlobs:
    return LocalBlobs(running.settings.blob_dir)


def put(running: Running, content: str) -> str:
    path = running.settings.incoming_dir / "new"
    path.write_text(content)
    return blobs_of(running).store(path)[0]


def stored(blobs: BlobStore) -> set[str]:
    return set(blobs.stored_before(now() + DAY))


def collect(running: Running, older_than: timedelta = AT_ONCE) -> int:
    database = Database(running.settings.resolved_database_url)
    try:
        return collect_orphans(database, blobs_of(running), older_than)
    finally:
        database.close()


def test_what_rows_refer_to_stays_and_the_rest_goes(service: Running):
    search = service.wait(service.search(budget={"evaluations": 3}))
    answer = built(service, f"/v1/searches/{search['id']}/subnets/1/weights")
    needed = stored(blobs_of(service))
    assert len(needed) == 4  # one file, its manifest, the dataset, the export
    orphan = put(service, "an orphan")
    assert collect(service) == 1
    assert stored(blobs_of(service)) == needed - {orphan}
    again = service.client.get(f"/v1/searches/{search['id']}/subnets/1/weights")
    assert again.content == answer.content


def test_what_is_young_stays(light_service: Running):
    young, old = put(light_service, "young"), put(light_service, "old")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(blobs_of(light_service).path(old), (two_days_ago, two_days_ago))
    assert collect(light_service, DAY) == 1
    assert stored(blobs_of(light_service)) == {young}


def test_files_that_super_networks_share_stay_with_the_last_of_them(light_service: Running):
    first = light_service.supernet(**{"base/x": "shared", "base/y": "only the first's"})
    second = light_service.supernet(**{"base/x": "shared"})
    assert len(stored(blobs_of(light_service))) == 4
    light_service.client.delete(f"/v1/supernets/{first}")
    assert collect(light_service) == 2
    assert len(stored(blobs_of(light_service))) == 2
    light_service.client.delete(f"/v1/supernets/{second}")
    assert collect(light_service) == 2
    assert stored(blobs_of(light_service)) == set()


def test_nothing_goes_while_a_manifest_cannot_be_read(light_service: Running):
    supernet = light_service.supernet()
    digest = light_service.get(f"/v1/supernets/{supernet}")["digest"]
    blobs_of(light_service).path(digest).unlink()
    orphan = put(light_service, "an orphan")
    with pytest.raises(BlobMissingError, match=digest):
        collect(light_service)
    assert orphan in stored(blobs_of(light_service))


def test_the_service_collects_by_itself(sqlite_url: str, tmp_path: Path):
    with running_service(sqlite_url, tmp_path, orphan_interval_seconds=0.05) as running:
        orphan = put(running, "an orphan")
        (running.settings.incoming_dir / "abandoned").mkdir()
        for path in (
            blobs_of(running).path(orphan),
            running.settings.incoming_dir / "abandoned",
        ):
            os.utime(path, (0, 0))
        running.until(lambda: not blobs_of(running).exists(orphan))
        running.until(lambda: not list(running.settings.incoming_dir.glob("abandoned")))


def test_only_what_nobody_writes_to_is_swept(tmp_path: Path):
    (tmp_path / "old").write_text("")
    os.utime(tmp_path / "old", (0, 0))
    (tmp_path / "new").write_text("")
    sweep_folder(tmp_path, 3600)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
