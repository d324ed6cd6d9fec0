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


def test_a_checkpoint_half_unpacked_by_a_crash_is_completed(tmp_path: Path):
    bench = Bench(tmp_path)
    try:
        digest = bench.checkpoint()
        building = tmp_path / "warm" / f"{digest}.building" / "base"
        building.mkdir(parents=True)
        (building / "config.json").write_text("half writ")
        assert models(bench, capacity=1).supernet(digest).supernet.num_labels == 2
    finally:
        bench.close()
