from __future__ import annotations

from pathlib import Path

import torch

from elasticnas.supernet.forward.prefixes import Prefixes
from elasticnas.worker.evaluator import SubnetAsked, SupernetEvaluator
from elasticnas.worker.model_cache import ModelCache
from tests.worker.test_handlers import Bench, evaluation, under


def models(
    bench: Bench, capacity: int, *, memory_bytes: int = 2**40, prefix_bytes: int = 2**20
) -> ModelCache:
    return ModelCache(
        bench.blobs,
        bench.folder / "warm",
        device=torch.device("cpu"),
        token_budget=512,
        capacity=capacity,
        memory_bytes=memory_bytes,
        prefix_bytes=prefix_bytes,
    )


def measured(models: ModelCache, supernet: str, dataset: str, **fields) -> SupernetEvaluator:
    """An evaluator after the maximal subnet was measured on it."""
    found = models.evaluator(under(evaluation(supernet, dataset, {}), **fields).conditions)
    found.measure(SubnetAsked({}), lambda: False, share=True)
    return found


def prefixes(dataset: SupernetEvaluator) -> Prefixes:
    (lap,) = dataset.laps
    assert lap.prefixes is not None
    return lap.prefixes


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


def test_activations_take_what_weights_leave(tmp_path: Path):
    bench = Bench(tmp_path)
    try:
        a, b = (bench.checkpoint(seed=seed) for seed in range(2))
        rows = bench.dataset()
        roomy = models(bench, capacity=2)
        weights = roomy.supernet(a).size_bytes
        prefix = prefixes(measured(roomy, a, rows)).bytes_each
        assert roomy._prefixes.held_bytes == 2 * prefix
        # One super-network leaves room for one prefix; two leave none.
        tight = models(bench, capacity=2, memory_bytes=2 * weights + prefix // 2)
        first = measured(tight, a, rows)
        assert prefixes(first).held_bytes == prefix
        tight.supernet(b)
        assert tight.digests == (a, b)
        assert prefixes(first).held_bytes == tight._prefixes.held_bytes == 0
        tight.keep_only(b)
        assert tight._prefixes.limit_bytes == weights + prefix // 2
    finally:
        bench.close()


def test_activations_go_with_the_batches_they_were_computed_on(tmp_path: Path):
    bench = Bench(tmp_path)
    try:
        a = bench.checkpoint()
        rows = bench.dataset()
        warm = models(bench, capacity=2)
        first = measured(warm, a, rows)
        assert warm._prefixes.held_bytes > 0
        assert first.halve_batches()
        assert warm._prefixes.held_bytes == 0
        for length in range(8, 8 + ModelCache.EVALUATORS):
            latest = measured(warm, a, rows, max_length=length)
        held = [prefixes(each).held_bytes for each in warm.supernet(a).evaluators.values()]
        assert len(held) == ModelCache.EVALUATORS
        assert sum(held) == warm._prefixes.held_bytes
        assert prefixes(latest).held_bytes > 0
        warm.keep_only(a)
        assert warm._prefixes.held_bytes == 0
    finally:
        bench.close()


def test_given_up_activations_come_back_half_as_many(tmp_path: Path):
    bench = Bench(tmp_path)
    try:
        a, rows = bench.checkpoint(), bench.dataset()
        warm = models(bench, capacity=1)
        prefix = prefixes(measured(warm, a, rows)).bytes_each
        assert warm.give_up_prefixes()
        assert warm._prefixes.held_bytes == 0
        measured(warm, a, rows)
        assert warm._prefixes.held_bytes == prefix
        warm.supernet(bench.checkpoint(seed=1))
        assert warm._prefixes.limit_bytes == prefix  # remembered when the bound is set anew
        none = models(bench, capacity=1, prefix_bytes=0)
        measured(none, a, rows)
        assert not none.give_up_prefixes()
    finally:
        bench.close()
