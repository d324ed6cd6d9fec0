"""Other real tasks go through the recipes `eftnas` and `derive` with nothing changed but the data.

Pairs of sentences: paraphrases (MRPC), which are classes, and similarities (STS-B), which are
numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
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
from elasticnas.tasks import TASKS, Task
from elasticnas.tasks.rows import Rows
from elasticnas.tasks.task import ColumnsAsked

pytestmark = pytest.mark.slow

LENGTH, TRAINED_ON, MEASURED_ON = 64, 640, 240
EFTNAS = EftnasSettings(
    max_length=LENGTH, teacher_epochs=2, steps=12, calibration_rows=128, dropout=False
)
DERIVE = DeriveSettings(max_length=LENGTH, calibration_rows=128)


@dataclass(frozen=True)
class Real:
    """A task's rows to train on and to measure on, and what a model that learnt them surpasses."""

    name: str
    task: Task
    metric: str
    at_least: float

    def rows(self, folder: Path, part: str, count: int) -> Rows:
        """The first rows of a part."""
        asked = ColumnsAsked(("sentence1", "sentence2"), "label", None)
        found = read_rows(folder / self.name / f"{part}.jsonl", task=self.task, asked=asked)
        return found.rows.select(range(count))


MRPC = Real("mrpc", TASKS["text-classification"], "f1", 0.75)
STSB = Real("stsb", TASKS["text-regression"], "pearson", 0.6)


def measured(supernet: Supernet, subnet: SubnetConfig, real: Real, rows: Rows) -> float:
    """The task's metric of a subnet."""
    examples = tokenize(
        LabelledTexts.of(rows),
        load_tokenizer(supernet),
        supernet.family,
        task=real.task,
        max_length=LENGTH,
    )
    laps = laps_of(examples, None, supernet, token_budget=4096)
    found = measure(supernet, subnet, laps, examples.labels, real.task)
    assert found.metrics is not None
    return found.metrics[real.metric]


@pytest.mark.parametrize("real", [MRPC, STSB], ids=lambda real: real.name)
def test_eftnas_trains_it_and_derive_cuts_the_trained_model(
    real: Real, shared_data: Path, minilm: Path, tmp_path: Path
):
    rows = real.rows(shared_data, "train", TRAINED_ON)
    unseen = real.rows(shared_data, "validation", MEASURED_ON)
    data = TrainingData(rows, real.task, 2 if real is MRPC else 1)
    run_recipe("eftnas", minilm, data, tmp_path / "eftnas", EFTNAS)
    trained = read_supernet(tmp_path / "eftnas")
    maximal = measured(trained, trained.space.maximal, real, unseen)
    heuristic = measured(trained, trained.space.heuristic, real, unseen)
    print(f"{real.name} {real.metric}: eftnas {maximal:.4f}, heuristic {heuristic:.4f}")
    assert min(maximal, heuristic) > real.at_least

    run_recipe("derive", tmp_path / "eftnas" / "base", data, tmp_path / "derived", DERIVE)
    derived = read_supernet(tmp_path / "derived")
    whole = measured(derived, derived.space.maximal, real, unseen)
    assert whole == pytest.approx(maximal, abs=0.01)
    cut = derived.space.subnet({d.name: d.choices[1] for d in derived.space.dimensions})
    less = measured(derived, cut, real, unseen)
    print(f"{real.name} {real.metric}: derived {whole:.4f}, cut {less:.4f}")
