"""Another real task goes through `eftnas` and `derive` with nothing changed but the data.

It is the similarity of pairs of sentences (STS-B), a number.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from elasticnas.api_schemas.eftnas_training import EftnasSettings
from elasticnas.api_schemas.training import DeriveSettings
from elasticnas.search.space import SubnetConfig
from elasticnas.service.datasets.reading import read_rows
from elasticnas.supernet.checkpoint.reader import load_tokenizer, read_supernet
from elasticnas.supernet.measuring.examples import LabelledTexts, tokenize
from elasticnas.supernet.measuring.measure import laps_of, measure
from elasticnas.supernet.methods.local import run_recipe
from elasticnas.supernet.methods.step import TrainingData
from elasticnas.supernet.supernet import Supernet
from elasticnas.tasks import TASKS
from elasticnas.tasks.rows import Rows
from elasticnas.tasks.task import ColumnsAsked

pytestmark = pytest.mark.slow

LENGTH, TRAINED_ON, MEASURED_ON = 64, 640, 240
EFTNAS = EftnasSettings(
    max_length=LENGTH, teacher_epochs=2, steps=12, calibration_rows=128, dropout=False
)
DERIVE = DeriveSettings(max_length=LENGTH, calibration_rows=128)


STSB = TASKS["text-regression"]
AT_LEAST = 0.2
"""Pearson's correlation of what learns for seconds; of what learns nothing it is 0 to 0.065."""


def rows_of(folder: Path, part: str, count: int) -> Rows:
    """The first rows of a part."""
    asked = ColumnsAsked(("sentence1", "sentence2"), "label", None)
    found = read_rows(folder / "stsb" / f"{part}.jsonl", task=STSB, asked=asked)
    return found.rows.select(range(count))


def correlation(supernet: Supernet, subnet: SubnetConfig, rows: Rows) -> float:
    """Pearson's, of what a subnet gives and the labels."""
    examples = tokenize(
        LabelledTexts.of(rows),
        load_tokenizer(supernet),
        supernet.family,
        task=STSB,
        max_length=LENGTH,
    )
    laps = laps_of(examples, None, supernet, token_budget=4096)
    found = measure(supernet, subnet, laps, examples.labels, STSB)
    assert found.metrics is not None
    return found.metrics["pearson"]


def test_eftnas_trains_it_and_derive_cuts_the_trained_model(
    shared_data: Path, minilm: Path, tmp_path: Path
):
    data = TrainingData(rows_of(shared_data, "train", TRAINED_ON), STSB, 1)
    unseen = rows_of(shared_data, "validation", MEASURED_ON)
    run_recipe("eftnas", minilm, data, tmp_path / "eftnas", EFTNAS)
    trained = read_supernet(tmp_path / "eftnas")
    maximal = correlation(trained, trained.space.maximal, unseen)
    heuristic = correlation(trained, trained.space.heuristic, unseen)
    print(f"eftnas: maximal {maximal:.4f}, heuristic {heuristic:.4f}")
    assert min(maximal, heuristic) > AT_LEAST

    run_recipe("derive", tmp_path / "eftnas" / "base", data, tmp_path / "derived", DERIVE)
    derived = read_supernet(tmp_path / "derived")
    whole = correlation(derived, derived.space.maximal, unseen)
    assert whole == pytest.approx(maximal, abs=0.01)
    second = {each.name: each.choices[1] for each in derived.space.dimensions}
    cut = correlation(derived, derived.space.subnet(second), unseen)
    print(f"derive: maximal {whole:.4f}, cut {cut:.4f}")
    assert cut != pytest.approx(whole, abs=1e-3)  # so much is cut that it shows
