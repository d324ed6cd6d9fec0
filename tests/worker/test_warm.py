from __future__ import annotations

from pathlib import Path

import torch

from tests.worker.test_actors import Bench
from worker.warm import WarmModels


def models(bench: Bench, capacity: int) -> WarmModels:
    return WarmModels(
        bench.blobs,
        bench.folder / "warm",
        device=torch.device("cpu"),
        dtype=torch.float32,
        token_budget=512,
        capacity=capacity,
        memory_bytes=2**40,
        prefix_bytes=2**20,
    )


def test_the_least_recently_used_supernet_makes_room(tmp_path: Path):
    bench = Bench(tmp_path)
    try:
        a, b, c = (bench.checkpoint(seed=seed) for seed in range(3))
        warm = models(bench, capacity=2)
        kept = warm.supernet(a)
        warm.supernet(b)
        assert warm.supernet(a) is kept
        warm.supernet(c)
        assert warm.digests == (a, c)
    finally:
        bench.close()


def test_a_checkpoints_files_are_leased_while_they_are_read_and_no_longer(tmp_path: Path):
    bench = Bench(tmp_path)
    try:
        digest = bench.checkpoint()
        warm = models(bench, capacity=1)
        with warm.checkpoint(digest) as folder:
            files = [path for path in folder.rglob("*") if path.is_file()]
            assert sorted(path.resolve().name for path in files) == sorted(bench.blobs.leased)
        assert not bench.blobs.leased
        assert not folder.exists()
        assert warm.supernet(digest).supernet.num_labels == 2
        assert not bench.blobs.leased
    finally:
        bench.close()
