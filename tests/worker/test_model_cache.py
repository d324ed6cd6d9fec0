from __future__ import annotations

from pathlib import Path

import pytest
import torch

from elasticnas.api_schemas.messages import lane_of
from elasticnas.api_schemas.precision import Precision
from elasticnas.api_schemas.problems import InputError
from elasticnas.supernet.forward.joining import merged_bytes, weight_bytes
from elasticnas.supernet.forward.prefixes import Prefixes
from elasticnas.worker.evaluator import SubnetAsked, SupernetEvaluator
from elasticnas.worker.isolation import Measurement, evaluator_of
from elasticnas.worker.model_cache import ModelCache
from tests.worker.test_handlers import Bench, evaluation, under


def models(
    bench: Bench,
    capacity: int,
    *,
    memory_bytes: int = 2**40,
    prefix_bytes: int = 2**20,
    device_bytes: int | None = None,
) -> ModelCache:
    return ModelCache(
        bench.blobs,
        bench.folder / "warm",
        device=torch.device("cpu"),
        token_budget=512,
        capacity=capacity,
        memory_bytes=memory_bytes,
        prefix_bytes=prefix_bytes,
        device_bytes=device_bytes,
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
        weights, merged = (getattr(roomy.supernet(a), f"{of}_bytes") for of in ("size", "merged"))
        prefix = prefixes(measured(roomy, a, rows)).bytes_each
        assert roomy._prefixes.held_bytes == 2 * prefix
        # One super-network leaves room for one prefix; two leave none.
        tight = models(bench, capacity=2, memory_bytes=2 * weights + merged + prefix // 2)
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


def test_a_checkpoint_that_was_looked_at_is_not_read_again_for_a_search(tmp_path: Path):
    bench = Bench(tmp_path)
    try:
        digest = bench.checkpoint()
        warm = models(bench, capacity=1)
        stored = warm.as_stored(digest, Precision.FLOAT32)
        assert warm.digests == (digest,)
        assert warm.lanes == (lane_of(digest, Precision.FLOAT32),)
        assert warm.load_seconds is None
        assert warm.as_stored(digest, Precision.FLOAT32) is stored
        assert warm.supernet(digest).supernet.model is stored.model
        again = warm.as_stored(digest, Precision.FLOAT32)
        assert again.model is not stored.model
        other = warm.as_stored(bench.checkpoint(seed=1), Precision.FLOAT32)
        assert warm.supernet(digest).supernet.model is stored.model  # still held beside it
        assert other.model is not stored.model
    finally:
        bench.close()


def test_adapters_stay_beside_their_layers_where_merged_weights_have_no_room(tmp_path: Path):
    bench = Bench(tmp_path)
    try:
        a, rows = bench.checkpoint(), bench.dataset()
        roomy = models(bench, capacity=1)
        merged = measured(roomy, a, rows).supernet
        assert not merged.unmerged
        weights = weight_bytes(merged, torch.float32)
        needed = weights + merged_bytes(merged, torch.float32)
        held = roomy.supernet(a)
        assert (held.size_bytes, held.merged_bytes) == (weights, needed - weights)
        tight = models(bench, capacity=1, memory_bytes=needed - 1)
        evaluator = measured(tight, a, rows)
        assert set(evaluator.supernet.unmerged) == set(merged.adapters)
        assert tight.supernet(a).merged_bytes == 0
        laid = measured(tight, a, rows, max_length=9)
        assert laid.supernet.unmerged  # every evaluator of this worker, however long its rows
    finally:
        bench.close()


def test_a_measurement_in_another_process_joins_adapters_as_the_worker_does(tmp_path: Path):
    bench = Bench(tmp_path)
    try:
        a, rows = bench.checkpoint(), bench.dataset()
        conditions = under(evaluation(a, rows, {})).conditions
        for memory_bytes in (0, 2**40):
            warm = models(bench, capacity=1, memory_bytes=memory_bytes)
            here = warm.evaluator(conditions)
            with warm.checkpoint(a) as folder, bench.blobs.lease(rows) as dataset:
                apart = evaluator_of(
                    Measurement(
                        checkpoint=folder,
                        dataset=dataset,
                        conditions=conditions,
                        pilots=(),
                        asked=SubnetAsked({}),
                        device="cpu",
                        token_budget=512,
                        memory_bytes=warm.memory_bytes,
                        limit_seconds=60.0,
                    )
                )
            assert apart.supernet.unmerged == here.supernet.unmerged
            assert bool(apart.supernet.unmerged) == (memory_bytes == 0)
            found = [
                each.measure(SubnetAsked({}), lambda: False, share=False) for each in (here, apart)
            ]
            assert found[0].metrics == found[1].metrics
    finally:
        bench.close()


def test_weights_that_the_device_cannot_hold_are_refused_with_what_can_be_done(tmp_path: Path):
    bench = Bench(tmp_path)
    try:
        digest = bench.checkpoint()
        size = weight_bytes(models(bench, capacity=1).supernet(digest).supernet, torch.float32)
        small = models(bench, capacity=1, device_bytes=size - 1)
        with pytest.raises(InputError, match=r"in float32 the weights take.*search in bfloat16"):
            small.supernet(digest)
        assert small.supernet(digest, Precision.BFLOAT16).size_bytes < size
    finally:
        bench.close()
