"""Content-addressed storage."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from api_schemas.manifests import Manifest
from service.blobs import LocalBlobs


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_file_is_found_under_the_sha256_of_its_content(blobs, tmp_path):
    digest = blobs.put_file(written(tmp_path / "a", "hello"))
    assert digest == hashlib.sha256(b"hello").hexdigest()
    assert blobs.fetch(digest).read_text() == "hello"
    assert blobs.path(digest).parent.parent.name == digest[:2]


def test_storing_moves_the_file_and_tells_its_size(blobs, tmp_path):
    path = written(tmp_path / "a", "hello")
    digest, size = blobs.store(path)
    assert size == 5
    assert not path.exists()
    assert blobs.fetch(digest).read_text() == "hello"


def test_the_same_content_is_kept_once(blobs, tmp_path):
    first = blobs.put_file(written(tmp_path / "a", "same"))
    second, _ = blobs.store(written(tmp_path / "b", "same"))
    assert first == second
    assert [p.name for p in (tmp_path / "blobs").rglob("*") if p.is_file()] == [first]


def test_a_missing_blob_is_named(blobs):
    with pytest.raises(FileNotFoundError, match="ab" * 32):
        blobs.fetch("ab" * 32)


@pytest.mark.parametrize("digest", ["../../etc/passwd", "AB" * 32, "ab", ""])
def test_only_digests_are_looked_up(blobs, digest):
    with pytest.raises(ValueError, match="not a SHA-256 digest"):
        blobs.path(digest)


def test_a_folder_is_one_blob_per_file_and_a_manifest(blobs, tmp_path):
    folder = tmp_path / "net"
    written(folder / "base" / "config.json", "{}")
    written(folder / "space.json", "[]")
    digest, manifest = blobs.put_folder(folder)
    stored = Manifest.model_validate_json(blobs.fetch(digest).read_text())
    assert stored == manifest
    assert set(stored.files) == {"base/config.json", "space.json"}
    assert blobs.fetch(stored.files["base/config.json"].sha256).read_text() == "{}"
    assert stored.size == 4


def test_equal_folders_have_one_digest(blobs, tmp_path):
    digests = []
    for name, order in (("one", "ab"), ("two", "ba")):
        for file in order:
            written(tmp_path / name / file, file)
        digests.append(blobs.put_folder(tmp_path / name)[0])
    assert digests[0] == digests[1]
