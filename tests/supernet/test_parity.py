"""Parity with the original LoNAS implementation on a genuine super-network that it trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from elasticnas.search.cost import cost_report
from elasticnas.search.space import SubnetConfig
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.cost_model import cost_model
from elasticnas.supernet.formats.elasticnas import elastic_part
from elasticnas.supernet.formats.space_file import read_space, space_file
from elasticnas.supernet.measuring.examples import LabelledTexts, tokenize
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TEXT_CLASSIFICATION
from tests.supernet.measured import evaluate


@pytest.fixture(scope="module")
def lonas(shared_data: Path, minilm: Path, tmp_path_factory) -> Supernet:
    source, folder = shared_data / "lonas-minilm-sst2", tmp_path_factory.mktemp("lonas")
    (folder / "base").symlink_to(minilm)
    (folder / "adapter").mkdir()
    for name in ("adapter_config.json", "adapter_model.bin"):
        shutil.copy(source / name, folder / "adapter")
    shutil.copy(source / "nncf_lonas_minilm_sst2.json", folder / "nncf_config.json")
    return read_supernet(folder)


@pytest.fixture(scope="module")
def references(shared_data: Path, lonas: Supernet) -> list[tuple[SubnetConfig, dict[str, float]]]:
    """Every subnet that the original reports, by its widths per group."""
    found = []
    for entry in json.loads((shared_data / "lonas-minilm-sst2" / "reference.json").read_text()):
        choices = {}
        for index, dimension in enumerate(lonas.space.dimensions):
            unit = 32 if dimension.part == "heads" else 1
            choices[dimension.name] = entry["widths"][str(index)] // unit
        found.append((lonas.space.subnet(choices), entry))
    return found


def test_the_originals_space_can_be_written_as_a_space_file_and_read_again(lonas, tmp_path: Path):
    file = tmp_path / "search_space.json"
    written = space_file(lonas.space, lonas.plan, lonas.reference_length)
    file.write_text(written.model_dump_json(exclude_defaults=True))
    again = elastic_part(read_space(file), lonas.shape)
    assert again.space == lonas.space
    assert set(again.plan.cuts) == set(lonas.plan.cuts)
    assert again.reference_length == lonas.reference_length


def test_macs_equal_the_originals_exactly(lonas, references):
    model = cost_model(lonas)
    for subnet, entry in references:
        cost = cost_report(model, subnet, 64).breakdown
        assert 2 * (cost.linear + cost.adapters + cost.head) == entry["flops"]


@pytest.mark.slow
def test_accuracies_equal_the_originals_within_one_row(
    lonas, references, shared_data: Path, pytestconfig: pytest.Config
):
    """The maximal, the minimal and every eighth subnet; all of them with ``--all-references``."""
    if not pytestconfig.getoption("--all-references"):
        references = references[:2] + references[8::8]
    text = (shared_data / "sst2" / "validation.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    examples = tokenize(
        LabelledTexts([r["sentence"] for r in rows], None, [r["label"] for r in rows]),
        load_tokenizer(lonas),
        lonas.family,
        task=TEXT_CLASSIFICATION,
        max_length=64,
    )
    batches = examples.batches(4096)
    for subnet, entry in references:
        metrics = evaluate(lonas, subnet, batches, examples.labels, TEXT_CLASSIFICATION)
        assert abs(metrics["accuracy"] - entry["accuracy"]) * len(rows) <= 1.0001
