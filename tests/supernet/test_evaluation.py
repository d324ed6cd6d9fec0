from __future__ import annotations

from pathlib import Path

import pytest
import torch

from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.examples import Batch, LabelledTexts, TokenizedExamples, tokenize
from elasticnas.supernet.measuring.measure import predict
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TEXT_CLASSIFICATION
from tests.supernet.measured import evaluate
from tests.supernet.test_activation import FAMILY_NAMES
from tests.supernet.tiny import sentences, write_checkpoint


def examples(supernet: Supernet, *, pairs: bool = False, max_length: int = 48) -> TokenizedExamples:
    rows = LabelledTexts(
        sentences(60),
        sentences(60, seed=1) if pairs else None,
        [i % 2 for i in range(60)],
    )
    tokenizer = load_tokenizer(supernet)
    return tokenize(
        rows,
        tokenizer,
        supernet.family,
        task=TEXT_CLASSIFICATION,
        max_length=max_length,
    )


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
@pytest.mark.parametrize("pairs", [False, True], ids=["single", "pair"])
def test_sorted_batches_give_the_logits_of_fixed_padding(tmp_path: Path, model_type, pairs):
    supernet = read_supernet(write_checkpoint(tmp_path, model_type))
    rows = examples(supernet, pairs=pairs)
    active = activate(supernet, supernet.space.heuristic)
    with torch.inference_mode():
        fixed = predict(active, [rows.batch(range(60), pad_to=48)], rows=60)
        for budget in (1, 40, 200, 10_000):
            sorted_by_length = predict(active, rows.batches(budget), rows=60)
            torch.testing.assert_close(sorted_by_length, fixed, rtol=1e-4, atol=1e-5)


def test_batches_keep_within_the_token_budget_and_hold_every_row_once(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    rows = examples(supernet)
    batches = rows.batches(64)
    assert sorted(torch.cat([b.rows for b in batches]).tolist()) == list(range(60))
    assert all(b.inputs["input_ids"].numel() <= 64 for b in batches)
    lengths = [b.inputs["input_ids"].shape[1] for b in batches]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("model_type", FAMILY_NAMES)
def test_batches_without_padding_need_no_mask(tmp_path: Path, model_type):
    supernet = read_supernet(write_checkpoint(tmp_path, model_type))
    rows = examples(supernet)
    batches = rows.batches(10_000, batch_cost=0)
    assert all("attention_mask" not in batch.inputs for batch in batches)
    assert sum(batch.inputs["input_ids"].numel() for batch in batches) == sum(
        map(len, rows.token_ids)
    )
    active = activate(supernet, supernet.space.heuristic)
    with torch.inference_mode():
        unmasked = predict(active, batches, rows=60)
        fixed = predict(active, [rows.batch(range(60), pad_to=48)], rows=60)
    torch.testing.assert_close(unmasked, fixed, rtol=1e-4, atol=1e-5)


def test_lengths_share_a_batch_when_that_is_cheaper(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    rows = examples(supernet)
    alone, some, together = (rows.batches(10_000, cost) for cost in (0, 16, 10_000))
    lengths = set(map(len, rows.token_ids))
    assert len(alone) == len(lengths)
    assert 1 < len(some) < len(lengths)
    assert len(together) == 1

    def price(batches: list[Batch], cost: int) -> int:
        return sum(batch.inputs["input_ids"].numel() + cost for batch in batches)

    assert price(some, 16) < min(price(alone, 16), price(together, 16))


def test_texts_are_truncated_to_the_maximal_length(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    assert max(map(len, examples(supernet, max_length=9).token_ids)) == 9


def test_the_metrics_of_a_classifier_are_those_of_its_predictions(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    rows = examples(supernet)
    subnet = supernet.space.heuristic
    with torch.inference_mode():
        logits = predict(activate(supernet, subnet), rows.batches(500), rows=60)
    metrics = evaluate(supernet, subnet, rows.batches(500), rows.labels, TEXT_CLASSIFICATION)
    right = (logits.argmax(1).numpy() == rows.labels).mean()
    assert metrics["accuracy"] == pytest.approx(right)
    assert set(metrics) == {"accuracy", "f1", "matthews_correlation", "combined_score"}


def test_bfloat16_agrees_with_float32_to_its_precision(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    rows = examples(supernet)
    with torch.inference_mode():
        exact = predict(activate(supernet, supernet.space.heuristic), rows.batches(500), rows=60)
        half = supernet.to(torch.device("cpu"), torch.bfloat16)
        rounded = predict(activate(half, half.space.heuristic), rows.batches(500), rows=60)
    torch.testing.assert_close(rounded, exact, rtol=0.1, atol=0.15)
