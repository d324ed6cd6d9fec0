"""The cache on a local disk, used by threads and processes."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import random
import signal
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pytest

from elasticnas.service.blobs.cache import DiskCache
from elasticnas.service.blobs.store import BlobCorruptError, BlobMissingError

SIZE = 1000
PROCESSES = multiprocessing.get_context("spawn")


class Folder:
    """A source of blobs that notes each download in a file."""

    def __init__(self, folder: Path, seconds: float = 0) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.seconds = seconds
        folder.mkdir(exist_ok=True)

    def add(self, name: int) -> str:
        content = str(name).encode().rjust(SIZE)
        digest = hashlib.sha256(content).hexdigest()
        (self.folder / digest).write_bytes(content)
        return digest

    def size(self, digest: str) -> int:
        if not (self.folder / digest).exists():
            raise BlobMissingError(digest, self)
        return SIZE

    def download(self, digest: str, file: IO[bytes]) -> None:
        with self.log.open("a") as log:
            log.write(f"{digest}\n")
        time.sleep(self.seconds)
        file.write((self.folder / digest).read_bytes())

    def downloads(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []


@pytest.fixture
def source(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "source")


def use(cache: DiskCache, source: Folder, *digests: str) -> None:
    for digest in digests:
        with cache.lease(digest, source) as path:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


def held(folder: Path) -> set[str]:
    return {path.name for path in (folder / "blobs").rglob("*") if path.is_file()}


def test_the_least_recently_used_make_room(tmp_path: Path, source: Folder):
    cache = DiskCache(tmp_path / "cache", 3 * SIZE)
    a, b, c, d, e = (source.add(name) for name in range(5))
    use(cache, source, a, b, c)
    assert held(tmp_path / "cache") == {a, b, c}
    use(cache, source, a, d)
    assert held(tmp_path / "cache") == {a, c, d}
    use(DiskCache(tmp_path / "cache", 3 * SIZE), source, c, e)
    assert held(tmp_path / "cache") == {c, d, e}
    assert source.downloads() == [a, b, c, d, e]


def test_what_is_in_use_stays_and_goes_when_it_is_not(tmp_path: Path, source: Folder):
    cache = DiskCache(tmp_path / "cache", 2 * SIZE)
    other = DiskCache(tmp_path / "cache", 2 * SIZE)
    digests = [source.add(name) for name in range(4)]
    with ExitStack() as leases:
        paths = [leases.enter_context(cache.lease(digest, source)) for digest in digests]
        use(other, source, source.add(9))
        assert held(tmp_path / "cache") == set(digests)
        assert all(path.stat().st_size == SIZE for path in paths)
    assert len(held(tmp_path / "cache")) == 2


def test_a_blob_larger_than_the_cache_can_be_used(tmp_path: Path, source: Folder):
    use(DiskCache(tmp_path / "cache", SIZE // 2), source, source.add(1))
    assert held(tmp_path / "cache") == set()


def test_an_entry_that_the_disk_damaged_is_fetched_again(tmp_path: Path, source: Folder):
    digest = source.add(1)
    use(DiskCache(tmp_path / "cache", SIZE), source, digest)
    [entry] = (tmp_path / "cache" / "blobs").rglob(digest)
    entry.write_bytes(b"damaged")
    use(DiskCache(tmp_path / "cache", SIZE), source, digest)
    assert source.downloads() == [digest, digest]


def test_a_blob_that_arrives_damaged_is_tried_twice_and_never_kept(tmp_path: Path, source: Folder):
    digest = source.add(1)
    (source.folder / digest).write_bytes(bytes(SIZE))
    cache = DiskCache(tmp_path / "cache", SIZE)
    with pytest.raises(BlobCorruptError, match=digest), cache.lease(digest, source):
        pass
    assert source.downloads() == [digest, digest]
    assert not list((tmp_path / "cache" / "partial").iterdir())
    assert held(tmp_path / "cache") == set()
    source.add(1)
    use(cache, source, digest)


def test_a_missing_blob_leaves_nothing_behind(tmp_path: Path, source: Folder):
    cache = DiskCache(tmp_path / "cache", SIZE)
    with pytest.raises(BlobMissingError), cache.lease("ab" * 32, source):
        pass
    assert not list((tmp_path / "cache" / "partial").iterdir())


def _hold(cache: Path, source: Folder, digest: str, ready) -> None:
    with DiskCache(cache, SIZE).lease(digest, source):
        ready.set()
        time.sleep(60)


def test_a_killed_process_holds_nothing(tmp_path: Path, source: Folder):
    first, second = source.add(1), source.add(2)
    ready = PROCESSES.Event()
    process = PROCESSES.Process(target=_hold, args=(tmp_path / "cache", source, first, ready))
    process.start()
    assert ready.wait(timeout=30)
    cache = DiskCache(tmp_path / "cache", SIZE)
    use(cache, source, second)
    assert held(tmp_path / "cache") == {first}  # in use over there
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    use(cache, source, second)
    assert held(tmp_path / "cache") == {second}


def test_a_download_of_a_killed_process_is_begun_anew(tmp_path: Path):
    slow = Folder(tmp_path / "source", seconds=60)
    digest = slow.add(1)
    ready = PROCESSES.Event()
    process = PROCESSES.Process(target=_hold, args=(tmp_path / "cache", slow, digest, ready))
    process.start()
    while not slow.downloads():
        assert process.is_alive()
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert list((tmp_path / "cache" / "partial").iterdir())
    slow.seconds = 0
    use(DiskCache(tmp_path / "cache", SIZE), slow, digest)
    assert not list((tmp_path / "cache" / "partial").iterdir())


def _use_once(cache: Path, source: Folder, digest: str, start) -> None:
    start.wait(timeout=60)
    use(DiskCache(cache, SIZE), source, digest)


def test_processes_that_need_one_blob_fetch_it_once(tmp_path: Path):
    source = Folder(tmp_path / "source", seconds=0.3)
    digest, start = source.add(1), PROCESSES.Barrier(3)
    processes = [
        PROCESSES.Process(target=_use_once, args=(tmp_path / "cache", source, digest, start))
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert source.downloads() == [digest]


def _use_at_random(cache: Path, source: Folder, digests: list[str], seed: int) -> None:
    choose = random.Random(seed)
    opened = DiskCache(cache, 4 * SIZE)
    for _ in range(150):
        with ExitStack() as leases:
            wanted = choose.sample(digests, choose.randint(1, 3))
            paths = [leases.enter_context(opened.lease(digest, source)) for digest in wanted]
            for digest, path in zip(wanted, paths, strict=True):
                assert hashlib.sha256(path.read_bytes()).hexdigest() == digest


def test_processes_that_share_a_cache_never_lose_a_file_and_keep_the_bound(
    tmp_path: Path, source: Folder
):
    digests = [source.add(name) for name in range(10)]
    processes = [
        PROCESSES.Process(target=_use_at_random, args=(tmp_path / "cache", source, digests, seed))
        for seed in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
        assert process.exitcode == 0
    assert len(held(tmp_path / "cache")) <= 4
    assert not list((tmp_path / "cache" / "partial").iterdir())
