"""What a blob store does, wherever it keeps its blobs."""

from __future__ import annotations

import hashlib
import time
from datetime import timedelta

import pytest

from elasticnas.api_schemas.manifests import Manifest, store_folder
from elasticnas.service.blobs.folder import read_manifest
from elasticnas.service.blobs.store import BlobCorruptError, BlobMissingError
from elasticnas.service.database import now
from tests.service.blobs.conftest import Bench, soon


def test_a_file_is_found_under_the_sha256_of_its_content(bench: Bench):
    path = bench.file("hello")
    digest, size = bench.store.store(path)
    assert (digest, size) == (hashlib.sha256(b"hello").hexdigest(), 5)
    assert not path.exists()
    assert bench.store.exists(digest)
    for store in (bench.store, bench.again()):
        with store.lease(digest) as found:
            assert found.read_text() == "hello"


def test_an_empty_file_is_a_blob_too(bench: Bench):
    with bench.store.lease(bench.put("")) as found:
        assert found.read_bytes() == b""


def test_the_same_content_is_kept_once(bench: Bench):
    digest = bench.put("same")
    path = bench.file("same")
    assert bench.again().store(path) == (digest, 4)
    assert not path.exists()
    assert bench.names() == [digest]


def test_a_missing_blob_is_named_with_its_store(bench: Bench):
    assert not bench.store.exists("ab" * 32)
    where = bench.bucket or str(bench.settings.blob_dir)
    with (
        pytest.raises(BlobMissingError, match=f"{'ab' * 32}.*{where}"),
        bench.store.lease("ab" * 32),
    ):
        pass


@pytest.mark.parametrize("digest", ["../../etc/passwd", "AB" * 32, "ab", ""])
def test_only_digests_are_looked_up(bench: Bench, digest):
    with pytest.raises(ValueError, match="not a SHA-256"), bench.store.lease(digest):
        pass
    with pytest.raises(ValueError, match="not a SHA-256"):
        bench.store.exists(digest)


def test_damage_is_found_when_a_blob_is_read(bench: Bench):
    digest = bench.put("whole")
    bench.damage(digest, b"whose")
    damaged = hashlib.sha256(b"whose").hexdigest()
    with (
        pytest.raises(BlobCorruptError, match=f"{digest} is damaged.*{damaged}"),
        bench.again().lease(digest),
    ):
        pass


def test_storing_a_truncated_blob_again_heals_it(bench: Bench):
    digest = bench.put("whole")
    bench.damage(digest, b"who")
    assert bench.put("whole") == digest
    with bench.again().lease(digest) as found:
        assert found.read_text() == "whole"


def test_a_folder_is_one_blob_per_file_and_a_manifest(bench: Bench):
    folder = bench.folder / "checkpoint"
    (folder / "base").mkdir(parents=True)
    (folder / "base" / "config.json").write_text("{}")
    (folder / "manifest").write_text("a file of the checkpoint")
    digest, manifest = store_folder(bench.store, folder)
    stored = read_manifest(bench.again(), digest)
    assert isinstance(stored, Manifest)
    assert stored == manifest
    assert set(stored.files) == {"base/config.json", "manifest"}
    assert stored.size == 26
    with bench.store.lease(stored.files["base/config.json"].sha256) as found:
        assert found.read_text() == "{}"


def test_equal_folders_have_one_digest(bench: Bench):
    digests = []
    for name in "ab":
        (bench.folder / name).mkdir()
        (bench.folder / name / "x").write_text("1")
        digests.append(store_folder(bench.store, bench.folder / name)[0])
    assert digests[0] == digests[1]


def test_only_blobs_that_are_old_enough_are_listed_and_discarded(bench: Bench):
    digest = bench.put("old")
    before = now() - timedelta(hours=1)
    assert list(bench.store.stored_before(before)) == []
    assert not bench.store.discard(digest, before)
    assert list(bench.store.stored_before(soon())) == [digest]
    assert bench.store.discard(digest, soon())
    assert not bench.store.discard(digest, soon())
    assert not bench.store.exists(digest)
    assert bench.names() == []


def test_storing_a_blob_again_makes_it_young(bench: Bench, monkeypatch):
    monkeypatch.setattr("elasticnas.service.blobs.s3.YOUNG", timedelta(0))
    digest = bench.put("again")
    time.sleep(1.1)  # S3 counts in whole seconds
    between = now()
    time.sleep(1.1)
    assert list(bench.store.stored_before(between)) == [digest]
    bench.put("again")
    assert list(bench.store.stored_before(between)) == []
    assert not bench.store.discard(digest, between)
    with bench.again().lease(digest) as found:
        assert found.read_text() == "again"
