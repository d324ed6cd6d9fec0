"""Packs of rows, against the same rows padded; and what an evaluation waits for."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.forward.prefixes import PrefixCache
from elasticnas.supernet.measuring import batching
from elasticnas.supernet.measuring.batching import batches_for, packs
from elasticnas.supernet.measuring.examples import Batch
from elasticnas.supernet.measuring.measure import predict
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TEXT_CLASSIFICATION
from tests.supernet import tiny
from tests.supernet.measured import evaluate
from tests.supernet.test_activation import BERT_FIRST, FAMILY_NAMES, random_subnets
from tests.supernet.test_evaluation import examples
from tests.supernet.test_packing import NEEDS_KERNEL
from tests.supernet.tiny import write_checkpoint

META = torch.device("meta")


def logits(supernet: Supernet, subnet, batches: list[Batch]) -> torch.Tensor:
    with torch.inference_mode():
        return predict(activate(supernet, subnet), batches, rows=60)


@pytest.mark.parametrize("budget", [1, 60, 10_000], ids=["a row each", "some rows each", "one"])
@pytest.mark.parametrize("pairs", [False, True], ids=["single", "pair"])
@pytest.mark.parametrize("model_type", BERT_FIRST)
def test_packs_give_the_logits_of_padded_rows(tmp_path: Path, model_type, pairs, budget):
    supernet = read_supernet(write_checkpoint(tmp_path, model_type, depth=True))
    rows = examples(supernet, pairs=pairs)
    padded, packed = [rows.batch(range(60), pad_to=48)], packs(supernet, rows, budget)
    for subnet in random_subnets(supernet, 3):
        found, expected = (logits(supernet, subnet, batches) for batches in (packed, padded))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_packs_have_the_positions_that_the_model_counts(tmp_path: Path, model_type):
    """Also where a text holds the padding token itself, which RoBERTa does not count."""
    supernet = read_supernet(write_checkpoint(tmp_path, model_type))
    rows = examples(supernet)
    for row in range(0, 60, 7):
        rows.token_ids[row][1] = rows.pad_id
    subnet = supernet.space.maximal
    torch.testing.assert_close(
        logits(supernet, subnet, packs(supernet, rows, 100)),
        logits(supernet, subnet, rows.batches(100)),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_prefixes_are_shared_on_packs(tmp_path: Path, model_type):
    supernet = read_supernet(write_checkpoint(tmp_path, model_type, depth=True))
    batches = packs(supernet, examples(supernet), 200)
    prefixes = PrefixCache(2**30).of(supernet, batches)
    assert prefixes.bytes_each == sum(map(len, examples(supernet).token_ids)) * 24 * 4
    space = supernet.space
    for changed, spared in (
        ({}, 0),
        ({"layer.2.ffn.width": 7}, 2),
        ({"depth": 2}, 1),
        ({"layer.1.attention.heads": 1}, 1),
    ):
        subnet = space.subnet(changed)
        with torch.inference_mode(), prefixes.shared(subnet) as splice:
            shared = predict(activate(supernet, subnet, splice), batches, rows=60)
        assert splice.first == spared
        assert torch.equal(shared, logits(supernet, subnet, batches))


def test_packs_hold_whole_rows_in_order_and_keep_within_the_budget(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    rows = examples(supernet)
    batches = packs(supernet, rows, 64)
    assert torch.cat([batch.rows for batch in batches]).tolist() == list(range(60))
    sizes = [batch.inputs["input_ids"].shape for batch in batches]
    assert all(one == 1 and tokens <= 64 for one, tokens in sizes)
    assert sum(tokens for _, tokens in sizes) == sum(map(len, rows.token_ids))
    first = batches[0].inputs
    row = first["packing"].lengths[0]
    assert first["input_ids"][0, :row].tolist() == rows.token_ids[0]
    assert first["position_ids"][0, : row + 2].tolist() == [*range(row), 0, 1]


def test_a_row_longer_than_the_budget_is_a_pack(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    rows = examples(supernet)
    assert [batch.rows.tolist() for batch in packs(supernet, rows, 1)] == [[r] for r in range(60)]


def test_a_processor_is_given_padded_rows_and_a_kernel_for_packs_packs(tmp_path, monkeypatch):
    supernet = read_supernet(write_checkpoint(tmp_path))
    rows = examples(supernet)
    asked = []

    def has_kernel(*about):
        asked.append(about)
        return True

    assert all("packing" not in batch.inputs for batch in batches_for(supernet, rows, 200))
    monkeypatch.setattr(batching, "has_kernel", has_kernel)
    batches = batches_for(supernet, rows, 200)
    assert asked == [(torch.device("cpu"), torch.float32, 6)]
    assert all("packing" in batch.inputs for batch in batches)
    padded, packed = (
        evaluate(supernet, supernet.space.heuristic, batches, rows.labels, TEXT_CLASSIFICATION)
        for batches in (rows.batches(200), batches)
    )
    assert packed == padded


def test_running_packs_leaves_the_model_as_it_was(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    rows = examples(supernet)
    config, padded = supernet.config.to_json_string(), rows.batches(200)
    modules = dict(supernet.model.named_modules())
    before = logits(supernet, supernet.space.maximal, padded)
    logits(supernet, supernet.space.maximal, packs(supernet, rows, 200))
    assert supernet.config.to_json_string() == config
    assert dict(supernet.model.named_modules()) == modules
    assert torch.equal(logits(supernet, supernet.space.maximal, padded), before)


@pytest.mark.parametrize("packed", [True, False], ids=["packs", "padded"])
@pytest.mark.parametrize("model_type", BERT_FIRST)
def test_an_evaluation_reads_nothing_from_the_device_but_its_logits(
    tmp_path: Path, model_type, packed
):
    """On tensors without data: to look into one, as ``.item()`` or a mask's indices do, raises."""
    read = read_supernet(write_checkpoint(tmp_path, model_type, depth=True))
    rows = examples(read)
    batches = packs(read, rows, 200) if packed else [rows.batch(range(60)), *rows.batches(200)]
    supernet = read.to(META, torch.bfloat16)
    for subnet in random_subnets(supernet, 2):
        with torch.inference_mode():
            active = activate(supernet, subnet)
            for batch in batches:
                assert active.logits(batch.to(META).inputs).shape == (len(batch.rows), 2)


@NEEDS_KERNEL
@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_a_gpu_is_waited_for_once_and_agrees_with_the_processor(
    tmp_path: Path, monkeypatch, model_type
):
    monkeypatch.setattr(tiny, "HIDDEN", 32)  # heads of eight channels
    exact = read_supernet(write_checkpoint(tmp_path, model_type, depth=True))
    rows = examples(exact)
    subnets = random_subnets(exact, 3)
    expected = [logits(exact, subnet, rows.batches(200)) for subnet in subnets]
    supernet = read_supernet(tmp_path).to(torch.device("cuda"), torch.bfloat16)
    batches = batches_for(supernet, rows, 200)
    assert all("packing" in batch.inputs for batch in batches)
    logits(supernet, subnets[0], batches)
    for subnet, right in zip(subnets, expected, strict=True):
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            found = logits(supernet, subnet, batches)
            torch.cuda.set_sync_debug_mode("default")
        assert len(waits) == 1
        torch.testing.assert_close(found, right, rtol=0.1, atol=0.15)
