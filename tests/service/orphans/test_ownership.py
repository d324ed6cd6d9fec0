"""Whatever databases and stores are brought together, no blob that a database refers to goes."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from elasticnas.service.blobs import BlobStore, make_blobs
from elasticnas.service.database import Database
from elasticnas.service.orphans import ownership
from elasticnas.service.orphans.collection import refers_to_a_blob_in, review
from elasticnas.service.orphans.collector import OrphanCollector
from tests.s3 import S3Server
from tests.service.orphans.test_collection import AT_ONCE, collection, stored
from tests.service.running import Running, running_service

ROUNDS = 3


@dataclass
class Site:
    """A bucket and a PostgreSQL server, on which installations are started."""

    settings: dict[str, str]
    folder: Path
    server: str

    def database(self, name: str) -> str:
        """The URL of a new, empty database."""
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"{self.server.rsplit('/', 1)[0]}/{name}".replace(
            "postgresql:", "postgresql+psycopg:"
        )

    def copy(self, url: str, name: str) -> str:
        """The URL of a backup of a database, taken at this moment."""
        source = make_url(url).database
        with psycopg.connect(self.server, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [source],
            )
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {source}")
        return str(make_url(url).set(database=name).render_as_string(hide_password=False))

    @contextmanager
    def installation(self, url: str) -> Iterator[Running]:
        """A running service on this database and the site's bucket."""
        folder = self.folder / make_url(url).database
        folder.mkdir(exist_ok=True)
        with running_service(url, folder, **self.settings) as running:
            yield running

    def blobs(self, running: Running) -> BlobStore:
        return make_blobs(running.settings)


@pytest.fixture(params=["seaweedfs_server", pytest.param("moto_server", marks=pytest.mark.slow)])
def s3(request: pytest.FixtureRequest, credentials: None) -> S3Server:  # noqa: ARG001
    """Either kind, as elsewhere, of which every run has one: each test starts services on it."""
    server: S3Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def site(s3: S3Server, postgres_url: str, tmp_path: Path) -> Site:
    bucket = s3.bucket()
    settings = {
        "blobs_url": f"s3://{bucket}/nas",
        "blobs_endpoint_url": s3.url,
        "blobs_region": "us-east-1",
    }
    return Site(settings, tmp_path, postgres_url.replace("+psycopg", ""))


@pytest.fixture
def databases(postgres_url: str) -> Iterator[Callable[[str], str]]:
    """Names for databases of this test, which are dropped after it."""
    prefix = make_url(postgres_url).database
    used: list[str] = []

    def name(short: str) -> str:
        used.append(f"{prefix}_{short}")
        return used[-1]

    yield name
    with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
        for each in used:
            connection.execute(f"DROP DATABASE IF EXISTS {each} WITH (FORCE)")


def rounds(running: Running) -> None:
    """Some rounds of the real collector, in which a mark is old as soon as it is made."""
    impatient = running.settings.model_copy(
        update={"orphan_grace_seconds": AT_ONCE.total_seconds()}
    )
    database = Database(running.settings.resolved_database_url)
    try:
        collector = OrphanCollector(impatient, database, make_blobs(running.settings))
        for _ in range(ROUNDS):
            collector.collect()
    finally:
        database.close()


def refusal(running: Running) -> str | None:
    database = Database(running.settings.resolved_database_url)
    try:
        return ownership.standing(database, make_blobs(running.settings)).refusal
    finally:
        database.close()


def claim(running: Running) -> None:
    database = Database(running.settings.resolved_database_url)
    try:
        while not ownership.claim(database, make_blobs(running.settings)):
            pass
    finally:
        database.close()


def missing(running: Running) -> tuple[str, ...]:
    database = Database(running.settings.resolved_database_url)
    try:
        return review(database, make_blobs(running.settings), AT_ONCE).missing
    finally:
        database.close()


def test_an_installation_alone_in_its_bucket_collects(site: Site, databases):
    with site.installation(site.database(databases("alone"))) as running:
        running.dataset()
        kept = stored(site.blobs(running))
        running.client.delete(f"/v1/supernets/{running.supernet()}")
        rounds(running)
        assert refusal(running) is None
        assert stored(site.blobs(running)) == kept


@pytest.mark.parametrize(
    "later", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["together", "one-later"]
)
def test_two_installations_on_one_bucket_delete_nothing_of_each_other(
    site: Site, databases, later: bool
):
    with ExitStack() as stack:
        first = stack.enter_context(site.installation(site.database(databases("first"))))
        if later:  # the first has the bucket for itself for a while
            first.supernet(**{"base/x": "the first's"})
            rounds(first)
        second = stack.enter_context(site.installation(site.database(databases("second"))))
        first.dataset(rows=6)
        second.dataset(rows=10)
        second.supernet(**{"base/x": "the second's"})
        before = stored(site.blobs(first))
        for _ in range(2):
            rounds(first)
            rounds(second)
        assert stored(site.blobs(first)) == before
        for mine, other in ((first, second), (second, first)):
            assert "is also used by installation-" in str(refusal(mine))
            assert missing(other) == ()


@pytest.mark.slow
def test_a_server_on_an_empty_database_deletes_nothing(site: Site, databases):
    url = site.database(databases("real"))
    with site.installation(url) as running:
        running.supernet()
        running.dataset()
        before = stored(site.blobs(running))
    with site.installation(site.database(databases("empty"))) as mistaken:
        rounds(mistaken)
        assert "is also used by installation-" in str(refusal(mistaken))
        assert stored(site.blobs(mistaken)) == before
    with site.installation(url) as running:
        rounds(running)
        assert stored(site.blobs(running)) == before
        assert "is also used by installation-" in str(refusal(running))
        claim(running)  # the operator says that the other one is gone
        orphan = running.supernet(**{"base/x": "an orphan soon"})
        running.client.delete(f"/v1/supernets/{orphan}")
        rounds(running)
        assert refusal(running) is None
        assert stored(site.blobs(running)) == before
        assert missing(running) == ()


def test_an_empty_database_on_a_bucket_that_an_earlier_version_wrote_deletes_nothing(
    site: Site, databases
):
    with site.installation(site.database(databases("old"))) as running:
        running.supernet()
        store = site.blobs(running)
        before = stored(store)
    for signer in store.signatures():  # an earlier version did not sign
        store.withdraw_signature(signer)
    with site.installation(site.database(databases("new"))) as mistaken:
        rounds(mistaken)
        assert "held blobs before this database did" in str(refusal(mistaken))
        assert stored(store) == before


@pytest.mark.slow
def test_an_older_database_restored_beside_a_newer_bucket_deletes_nothing(site: Site, databases):
    url = site.database(databases("live"))
    with site.installation(url) as running:
        running.dataset(rows=4)
    backup = site.copy(url, databases("backup"))
    with site.installation(url) as running:
        rounds(running)
        running.dataset(rows=8)  # what the backup does not know
        running.supernet()
        before = stored(site.blobs(running))
    with site.installation(backup) as restored:
        rounds(restored)
        assert "do not belong to the same moment" in str(refusal(restored))
        assert stored(site.blobs(restored)) == before
    with site.installation(url) as running:  # the right backup is found after all
        rounds(running)
        assert stored(site.blobs(running)) == before
        assert missing(running) == ()
        claim(running)
        rounds(running)
        assert refusal(running) is None
        assert stored(site.blobs(running)) == before


def test_a_database_restored_within_the_hour_deletes_nothing_while_the_store_is_held(
    site: Site, databases
):
    """Its token is the store's, as no collection came between backup and restore."""
    url = site.database(databases("live"))
    with site.installation(url) as running:
        running.dataset(rows=4)
        rounds(running)
    backup = site.copy(url, databases("backup"))
    with site.installation(url) as running:
        running.dataset(rows=8)  # what the backup does not know
        before = stored(site.blobs(running))
        service_id = ownership.standing(Database(url), site.blobs(running)).installation
    database, blobs = Database(backup), site.blobs(running)
    ownership.hold(database, blobs)
    assert ownership.standing(database, blobs).installation == service_id
    database.close()
    with site.installation(backup) as restored:
        rounds(restored)
        assert "an operator holds it" in str(refusal(restored))
        assert stored(site.blobs(restored)) == before


def test_a_newer_database_beside_an_older_bucket_deletes_nothing(
    site: Site, databases, s3: S3Server
):
    client, bucket = s3.client(), site.settings["blobs_url"].split("/")[2]

    def content() -> dict[str, bytes]:
        found = client.list_objects_v2(Bucket=bucket).get("Contents", ())
        return {
            each["Key"]: client.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()
            for each in found
        }

    with site.installation(site.database(databases("live"))) as running:
        running.dataset(rows=4)
        backup = content()
        rounds(running)
        lost = running.get(f"/v1/datasets/{running.dataset(rows=8)}")["digest"]
        for key in content():
            client.delete_object(Bucket=bucket, Key=key)
        for key, value in backup.items():
            client.put_object(Bucket=bucket, Key=key, Body=value)
        rounds(running)
        assert {key for key in content() if "/blobs/" in key} == {
            key for key in backup if "/blobs/" in key
        }
        assert "do not belong to the same moment" in str(refusal(running))
        assert missing(running) == (lost,)


@pytest.mark.slow
def test_a_copy_of_the_database_in_use_beside_the_original_is_noticed_by_both(
    site: Site, databases
):
    """As when a staging environment is made from production's backup, bucket and all."""
    url = site.database(databases("live"))
    with site.installation(url) as running:
        running.dataset(rows=4)
    copy = site.copy(url, databases("copy"))
    with site.installation(url) as live, site.installation(copy) as staging:
        live.supernet()
        before = stored(site.blobs(live))
        staged, blobs = Database(staging.settings.resolved_database_url), site.blobs(staging)
        collection(staged, blobs, AT_ONCE)  # marks what production alone knows
        rounds(live)  # comes before staging deletes, as turns are shorter than the grace
        collection(staged, blobs, AT_ONCE)
        staged.close()
        rounds(live)
        assert stored(blobs) == before
        assert refusal(live) is not None
        assert refusal(staging) is not None


def test_a_server_killed_while_it_changed_the_token_goes_on(
    site: Site, databases, monkeypatch: pytest.MonkeyPatch
):
    with site.installation(site.database(databases("killed"))) as running:
        database, blobs = Database(running.settings.resolved_database_url), site.blobs(running)
        write = ownership._write
        for is_written in (False, True):

            def dies(*arguments: object, is_written: bool = is_written) -> None:
                if threading.current_thread() is not threading.main_thread():
                    return write(*arguments)  # the service's own collector
                if is_written:
                    write(*arguments)
                raise KeyboardInterrupt

            monkeypatch.setattr(ownership, "_write", dies)
            with pytest.raises(KeyboardInterrupt):
                collection(database, blobs, AT_ONCE)
            monkeypatch.setattr(ownership, "_write", write)
            assert collection(database, blobs, AT_ONCE).refusal is None
        database.close()


def test_a_local_folder_of_an_earlier_version_is_taken_on_with_its_database(tmp_path: Path):
    with running_service(None, tmp_path) as running:  # database and blobs in one data folder
        running.dataset()
        folder = running.settings.blob_dir
    shutil.rmtree(folder / "installations")
    with running_service(None, tmp_path) as running:
        assert refusal(running) is None
    shutil.rmtree(folder / "installations")
    (running.settings.data_dir / "elasticnas.db").unlink()
    with running_service(None, tmp_path) as running:
        assert "held blobs before" in str(refusal(running))
        database = Database(running.settings.resolved_database_url)
        assert not refers_to_a_blob_in(database, make_blobs(running.settings))
        database.close()
