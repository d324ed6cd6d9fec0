"""Confidence intervals, and the rows that a search sets aside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from elasticnas.api_schemas.verification import RowSplit
from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.measuring import confidence
from elasticnas.supernet.measuring.confidence import resampled, scores, verified
from elasticnas.supernet.measuring.measure import Lap, measure
from elasticnas.supernet.measuring.splits import rows_of as rows_in
from elasticnas.tasks import TEXT_CLASSIFICATION, TEXT_REGRESSION, Task
from elasticnas.tasks.settings import TaskSettings
from tests.supernet.measured import task_metrics
from tests.supernet.test_evaluation import examples
from tests.supernet.tiny import write_checkpoint


def split(part: str, share: float = 0.5) -> RowSplit:
    return RowSplit(share=share, part=part)


def test_the_two_parts_share_no_row_and_miss_none():
    labels = torch.tensor([0, 1] * 50)
    search, verification = (
        rows_of(split(part, 0.3), labels, TEXT_CLASSIFICATION)
        for part in ("search", "verification")
    )
    assert sorted(search + verification) == list(range(100))
    assert len(verification) == 30


def test_each_part_has_its_share_of_every_class():
    labels = torch.tensor([0] * 90 + [1] * 10)
    rows = rows_of(split("verification"), labels, TEXT_CLASSIFICATION)
    assert sum(int(labels[row]) for row in rows) == 5


def test_a_class_of_one_row_is_no_obstacle():
    labels = torch.tensor([0] * 9 + [1])
    assert len(rows_of(split("search"), labels, TEXT_CLASSIFICATION)) == 5


def rows_of(part: RowSplit, labels: torch.Tensor, task: Task) -> list[int]:
    return rows_in(part, labels.numpy(), task)


def resampled_metrics(
    task: Task, logits: torch.Tensor, labels: torch.Tensor, resamples: np.ndarray
) -> dict[str, np.ndarray]:
    return resampled(task, task.outcomes(logits.numpy(), labels.numpy(), TaskSettings()), resamples)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("used", [1, 2, 5])
def test_resampled_metrics_are_those_of_each_resample(
    classes: int, used: int, monkeypatch: pytest.MonkeyPatch
):
    """Also where the labels use few of the head's classes, and when counted in several goes."""
    monkeypatch.setattr(confidence, "CELLS", 60 * 7)
    rng = np.random.default_rng(classes)
    logits = torch.from_numpy(rng.normal(size=(60, classes)))
    labels = torch.from_numpy(rng.integers(min(used, classes), size=60))
    resamples = rng.integers(60, size=(20, 60))
    drawn = resampled_metrics(TEXT_CLASSIFICATION, logits, labels, resamples)
    assert all(len(values) == 20 for values in drawn.values())
    for index, rows in enumerate(resamples):
        expected = task_metrics(TEXT_CLASSIFICATION, logits[rows], labels[rows])
        assert {name: values[index] for name, values in drawn.items()} == pytest.approx(expected)


def test_predictions_without_spread_have_metrics_too():
    logits = torch.tensor([[1.0, 0.0]] * 6)
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    resamples = np.array([[0, 1, 2, 3, 4, 5], [0, 0, 0, 0, 0, 0]])
    drawn = resampled_metrics(TEXT_CLASSIFICATION, logits, labels, resamples)
    assert drawn["matthews_correlation"].tolist() == [0.0, 0.0]
    assert drawn["accuracy"].tolist() == [0.5, 1.0]


def test_regression_is_resampled_too():
    values = torch.linspace(0, 1, 30, dtype=torch.float64)
    resamples = np.random.default_rng(0).integers(30, size=(5, 30))
    drawn = resampled_metrics(TEXT_REGRESSION, values[:, None], values, resamples)
    assert drawn["pearson"] == pytest.approx(np.ones(5))


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Accuracy 0.8 on 200 rows, 300 times: a 95 % interval holds it in about 95 % of them."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        labels = torch.zeros(200, dtype=torch.int64)
        wrong = torch.from_numpy(rng.random(200) > 0.8).double()
        logits = torch.stack([1 - wrong, wrong], dim=1)
        resamples = rng.integers(200, size=(400, 200))
        drawn = resampled_metrics(TEXT_CLASSIFICATION, logits, labels, resamples)["accuracy"]
        low, high = np.quantile(drawn, [0.025, 0.975])
        covered += low <= 0.8 <= high
    assert 0.9 <= covered / 300 <= 0.985


def test_the_maximal_subnet_differs_from_itself_by_nothing(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    subnets = [supernet.space.maximal, supernet.space.minimal]
    rows = examples(supernet)
    laps, task = [Lap.whole(rows.batches(512))], TEXT_CLASSIFICATION
    found = [measure(supernet, each, laps, rows.labels, task).outcomes for each in subnets]
    largest, smallest = (
        verified(len(rows), scores(task, each), scores(task, found[0])) for each in found
    )
    assert largest.rows == 60
    for interval in largest.versus_maximal.values():
        assert interval.value == interval.low == interval.high == 0.0
    for name, interval in smallest.metrics.items():
        assert interval.low <= interval.value <= interval.high
        expected = interval.value - largest.metrics[name].value
        assert smallest.versus_maximal[name].value == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.77])
@pytest.mark.parametrize("count", [5, 20, 21, 100])
def test_how_many_rows_a_part_has_is_known_without_splitting(share, count):
    labels = torch.tensor([0, 1] * count)[:count]
    for part in ("search", "verification"):
        found = rows_of(split(part, share), labels, TEXT_CLASSIFICATION)
        assert split(part, share).count(count) == len(found)
