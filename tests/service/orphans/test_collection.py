"""What nothing refers to is cleared away, and nothing else."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from elasticnas.api_schemas.manifests import Manifest
from elasticnas.service.blobs import BlobStore, LocalBlobs
from elasticnas.service.blobs.store import BlobMissingError
from elasticnas.service.database import Database, now
from elasticnas.service.orphans import repository
from elasticnas.service.orphans.collection import Outcome, collect, review
from elasticnas.service.orphans.collector import OrphanCollector
from elasticnas.service.orphans.sweeping import sweep_folder
from elasticnas.service.orphans.tables import OrphanRow
from tests.service.exports.test_endpoints import built
from tests.service.running import Running, running_service

DAY = timedelta(days=1)
AT_ONCE = timedelta(hours=-1)
"""A grace that has passed for everything, whatever the clocks."""


@pytest.fixture(autouse=True)
def _no_other_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service collects as it starts, and by its own grace takes back what is marked here."""
    monkeypatch.setattr(OrphanCollector, "collect", lambda _: None)


def blobs_of(running: Running) -> LocalBlobs:
    return LocalBlobs(running.settings.blob_dir)


def put(running: Running, content: str) -> str:
    path = running.settings.incoming_dir / "new"
    path.write_text(content)
    return blobs_of(running).store(path)[0]


def stored(blobs: BlobStore) -> set[str]:
    return set(blobs.stored_before(now() + DAY))


@contextmanager
def database_of(running: Running) -> Iterator[Database]:
    database = Database(running.settings.resolved_database_url)
    try:
        yield database
    finally:
        database.close()


def collection(database: Database, blobs: BlobStore, grace: timedelta) -> Outcome:
    """One collection, after any that the service makes by itself at this moment."""
    while (outcome := collect(database, blobs, grace)).begun_elsewhere:
        time.sleep(0.01)
    return outcome


def collected(running: Running, grace: timedelta = AT_ONCE) -> int:
    """How many blobs two collections delete: the first one marks, the second one deletes."""
    with database_of(running) as database:
        first = collection(database, blobs_of(running), grace)
        second = collection(database, blobs_of(running), grace)
    assert first.refusal is None
    assert second.refusal is None
    return first.deleted + second.deleted


def test_what_rows_refer_to_stays_and_the_rest_goes(service: Running):
    search = service.wait(service.search(budget={"evaluations": 3}))
    answer = built(service, f"/v1/searches/{search['id']}/subnets/1/weights")
    needed = stored(blobs_of(service))
    assert len(needed) == 4  # one file, its manifest, the dataset, the export
    orphan = put(service, "an orphan")
    assert collected(service) == 1
    assert stored(blobs_of(service)) == needed - {orphan}
    again = service.client.get(f"/v1/searches/{search['id']}/subnets/1/weights")
    assert again.content == answer.content


def test_what_is_young_stays(light_service: Running):
    young, old = put(light_service, "young"), put(light_service, "old")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(blobs_of(light_service).path(old), (two_days_ago, two_days_ago))
    with database_of(light_service) as database:
        collection(database, blobs_of(light_service), DAY)
    marked(light_service, two_days_ago)
    assert collected(light_service, DAY) == 1
    assert stored(blobs_of(light_service)) == {young}


def test_files_that_super_networks_share_stay_with_the_last_of_them(light_service: Running):
    first = light_service.supernet(**{"base/x": "shared", "base/y": "only the first's"})
    second = light_service.supernet(**{"base/x": "shared"})
    assert len(stored(blobs_of(light_service))) == 4
    light_service.client.delete(f"/v1/supernets/{first}")
    assert collected(light_service) == 2
    assert len(stored(blobs_of(light_service))) == 2
    light_service.client.delete(f"/v1/supernets/{second}")
    assert collected(light_service) == 2
    assert stored(blobs_of(light_service)) == set()


def test_nothing_goes_while_a_manifest_cannot_be_read(light_service: Running):
    supernet = light_service.supernet()
    digest = light_service.get(f"/v1/supernets/{supernet}")["digest"]
    blobs_of(light_service).path(digest).unlink()
    orphan = put(light_service, "an orphan")
    with pytest.raises(BlobMissingError, match=digest):
        collected(light_service)
    assert orphan in stored(blobs_of(light_service))


def test_the_service_collects_by_itself(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.undo()
    with running_service(sqlite_url, tmp_path, orphan_interval_seconds=0.05) as running:
        orphan = put(running, "an orphan")
        (running.settings.incoming_dir / "abandoned").mkdir()
        for path in (
            blobs_of(running).path(orphan),
            running.settings.incoming_dir / "abandoned",
        ):
            os.utime(path, (0, 0))
        running.until(lambda: marks(running))
        assert blobs_of(running).exists(orphan)  # it was marked today, whatever its age
        marked(running, time.time() - 2 * 24 * 3600)
        running.until(lambda: not blobs_of(running).exists(orphan))
        running.until(lambda: not list(running.settings.incoming_dir.glob("abandoned")))


def marks(running: Running) -> dict[str, datetime]:
    with database_of(running) as database, database.read() as session:
        return dict(repository.marks(session))


def marked(running: Running, seconds: float) -> None:
    """As if what is marked had been marked at this moment."""
    moment = datetime.fromtimestamp(seconds, UTC)
    with database_of(running) as database, database.write() as session:
        session.execute(update(OrphanRow).values(marked_at=moment))


def test_what_is_first_found_now_is_only_marked(service: Running):
    orphan = put(service, "an orphan")
    with database_of(service) as database:
        blobs = blobs_of(service)
        assert collection(database, blobs, AT_ONCE).marked == 1
        assert blobs.exists(orphan)
        assert collection(database, blobs, AT_ONCE).deleted == 1
        assert not blobs.exists(orphan)
        assert collection(database, blobs, AT_ONCE).marked == 0
    assert marks(service) == {}


def test_a_mark_goes_when_a_row_refers_to_the_blob_again(light_service: Running):
    dataset = light_service.dataset()
    (digest,) = stored(blobs_of(light_service))
    light_service.client.delete(f"/v1/datasets/{dataset}")
    with database_of(light_service) as database:
        collection(database, blobs_of(light_service), AT_ONCE)
        assert list(marks(light_service)) == [digest]
        light_service.dataset()
        assert collection(database, blobs_of(light_service), AT_ONCE).deleted == 0
        assert marks(light_service) == {}
    assert blobs_of(light_service).exists(digest)


def test_a_review_shows_what_would_go_and_changes_nothing(light_service: Running):
    supernet = light_service.supernet()
    missing = light_service.get(f"/v1/supernets/{supernet}")["digest"]
    orphan = put(light_service, "an orphan")
    with database_of(light_service) as database:
        blobs = blobs_of(light_service)
        first = review(database, blobs, AT_ONCE)
        assert (first.referenced, first.orphans, first.deletable) == (2, {orphan: None}, ())
        assert first.standing.refusal is None
        assert marks(light_service) == {}
        collection(database, blobs, AT_ONCE)
        second = review(database, blobs, AT_ONCE)
        assert second.deletable == (orphan,)
        assert second.orphans == marks(light_service)
        assert blobs.exists(orphan)
        with blobs.lease(missing) as path:
            files = Manifest.model_validate_json(path.read_text()).files
        lost = next(iter(files.values())).sha256
        blobs.path(lost).unlink()
        assert review(database, blobs, AT_ONCE).missing == (lost,)


def test_only_what_nobody_writes_to_is_swept(tmp_path: Path):
    (tmp_path / "old").write_text("")
    os.utime(tmp_path / "old", (0, 0))
    (tmp_path / "new").write_text("")
    sweep_folder(tmp_path, 3600)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_what_subnets_have_learnt_stays_until_the_search_is_deleted(service: Running):
    fine_tune = {"dataset_id": service.dataset(rows=10), "steps": 3, "start": "nearest"}
    evaluation = {"fine_tune": {**fine_tune, "min_overlap": 0.3}}
    search_id = service.search(budget={"evaluations": 8}, evaluation=evaluation)
    service.wait(search_id)
    before = stored(blobs_of(service))
    assert collected(service) == 0
    assert stored(blobs_of(service)) == before
    service.client.delete(f"/v1/searches/{search_id}")
    assert collected(service) == 8


def test_what_a_training_has_gone_on_from_goes_once_it_is_over(service: Running):
    fine_tune = {"dataset_id": service.dataset(rows=10), "steps": 8, "halving": {"eta": 2}}
    search_id = service.search(budget={"evaluations": 7}, evaluation={"fine_tune": fine_tune})
    service.wait(search_id)
    # Three in full, of a bracket of four four states and two.
    assert collected(service) == 6
