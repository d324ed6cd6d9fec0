"""Blobs in a local folder: what only a folder can get wrong."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from elasticnas.service.blobs import LocalBlobs
from elasticnas.service.blobs.store import BlobMissingError
from elasticnas.service.database import now
from tests.service.blobs.conftest import mounted_small_disk, soon


@pytest.fixture
def blobs(tmp_path: Path) -> LocalBlobs:
    return LocalBlobs(tmp_path / "blobs")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one mebibyte."""
    (tmp_path / "small").mkdir()
    with mounted_small_disk(tmp_path / "small") as folder:
        yield folder


def test_a_full_disk_leaves_nothing_half_stored(small_disk: Path, tmp_path: Path):
    blobs = LocalBlobs(small_disk)
    large = tmp_path / "large"
    large.write_bytes(bytes(2 << 20))
    with pytest.raises(OSError, match="No space left"):
        blobs.store(large)
    assert large.stat().st_size == 2 << 20
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
    small = tmp_path / "small-file"
    small.write_text("fits")
    assert blobs.exists(blobs.store(small)[0])


def test_damage_that_was_stored_again_is_healed(blobs: LocalBlobs, tmp_path: Path):
    for _ in range(2):
        path = tmp_path / "a"
        path.write_text("whole")
        digest, _ = blobs.store(path)
        with blobs.lease(digest) as found:
            assert found.read_text() == "whole"
        blobs.path(digest).write_text("whose")


def test_what_a_killed_process_was_storing_is_cleared_away(blobs: LocalBlobs, tmp_path: Path):
    (tmp_path / "blobs" / "staging" / "half").write_text("ha")
    blobs.discard_unfinished(now() - timedelta(hours=1))
    assert list((tmp_path / "blobs" / "staging").iterdir())
    blobs.discard_unfinished(soon())
    assert not list((tmp_path / "blobs" / "staging").iterdir())


def test_a_collector_never_takes_what_is_being_stored_again(blobs: LocalBlobs, tmp_path: Path):
    """Whoever stored a blob finds it, whatever a collector did at that moment."""
    old, before = (now() - timedelta(days=2)).timestamp(), now() - timedelta(days=1)
    digest = ""
    for round_ in range(100):
        path = tmp_path / f"{round_}"
        path.write_text("the same")
        digest, _ = blobs.store(path)
        os.utime(blobs.path(digest), (old, old))
        path.write_text("the same")
        collected = []
        collector = threading.Thread(
            target=lambda found=digest, out=collected: out.append(blobs.discard(found, before))
        )
        storing = threading.Thread(target=lambda given=path: blobs.store(given))
        for thread in (storing, collector) if round_ % 2 else (collector, storing):
            thread.start()
        for thread in (storing, collector):
            thread.join()
        try:
            with blobs.lease(digest) as found:
                assert found.read_text() == "the same"
        except BlobMissingError:
            pytest.fail(f"lost in round {round_}")
