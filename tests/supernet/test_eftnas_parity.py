"""Parity with the original EFTNAS implementation on a genuine super-network that it trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elasticnas.search.cost import cost_report
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.examples import LabelledTexts, TokenizedExamples, tokenize
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TEXT_CLASSIFICATION
from tests.supernet.measured import evaluate

TOKENS = 64


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    """The folder as the original writes it."""
    return shared_data / "eftnas-minilm-sst2"


@pytest.fixture(scope="module")
def eftnas(folder: Path) -> Supernet:
    return read_supernet(folder).to(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def references(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "reference.json").read_text())
    return found


@pytest.fixture(scope="module")
def validation(shared_data: Path, eftnas: Supernet) -> TokenizedExamples:
    """SST-2's validation rows."""
    text = (shared_data / "sst2" / "validation.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    return tokenize(
        LabelledTexts([r["sentence"] for r in rows], None, [r["label"] for r in rows]),
        load_tokenizer(eftnas),
        eftnas.family,
        task=TEXT_CLASSIFICATION,
        max_length=TOKENS,
    )


def subnet_of(supernet: Supernet, entry: Mapping[str, Any]) -> SubnetConfig:
    """Dimension i is group i, of which attention's are counted in heads of 32 channels."""
    units = {"heads": 32, "ffn": 1}
    return supernet.space.subnet(
        {
            dimension.name: entry["widths"][str(index)] // units[dimension.part]
            for index, dimension in enumerate(supernet.space.dimensions)
        }
    )


def test_the_genuine_folder_is_read_as_it_is(eftnas: Supernet, folder: Path):
    assert eftnas.method == "eftnas"
    assert eftnas.reference_length == TOKENS
    assert eftnas.space.size == 25_312_500
    assert not eftnas.adapters
    assert eftnas.base_folder == folder


def test_flops_and_weights_equal_the_originals_exactly(eftnas, references):
    """Its flops count the products of attention; its weights are those of linear layers."""
    model = cost_model(eftnas)
    assert len(references) > 20
    for entry in references:
        spent = cost_report(model, subnet_of(eftnas, entry), TOKENS).breakdown
        assert 2 * (spent.linear + spent.attention + spent.head) == entry["flops"], entry["name"]
        assert spent.linear / TOKENS + spent.head == entry["weights"], entry["name"]


def check_accuracies(
    eftnas: Supernet, validation: TokenizedExamples, entries: list[dict[str, Any]]
) -> None:
    batches = validation.batches(4096)
    for entry in entries:
        subnet = subnet_of(eftnas, entry)
        found = evaluate(eftnas, subnet, batches, validation.labels, TEXT_CLASSIFICATION)
        assert found["accuracy"] == pytest.approx(entry["accuracy"], abs=1e-12), entry["name"]


def test_the_accuracy_of_the_smallest_subnet_equals_the_originals(eftnas, references, validation):
    (smallest,) = (entry for entry in references if entry["name"] == "min")
    check_accuracies(eftnas, validation, [smallest])


@pytest.mark.slow
def test_accuracies_of_all_subnets_equal_the_originals(eftnas, references, validation):
    check_accuracies(eftnas, validation, references)


@pytest.mark.slow
def test_logits_equal_the_originals(eftnas, references, validation, folder: Path):
    """Of six subnets, row by row; so no prediction differs."""
    expected = np.load(folder / "logits.npz")
    assert len(expected.files) == 6
    entries = {entry["name"]: entry for entry in references}
    for name in expected.files:
        active = activate(eftnas, subnet_of(eftnas, entries[name]))
        found = np.empty_like(expected[name])
        with torch.inference_mode():
            for batch in validation.batches(4096):
                found[list(batch.rows)] = active.logits(batch.inputs).numpy()
        np.testing.assert_allclose(found, expected[name], rtol=0, atol=1e-4)
        assert np.array_equal(found.argmax(1), expected[name].argmax(1))
