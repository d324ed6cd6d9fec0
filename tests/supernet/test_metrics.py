from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from elasticnas.api_schemas.problems import InputError
from elasticnas.tasks import TEXT_CLASSIFICATION, TEXT_REGRESSION
from tests.supernet.measured import task_metrics


def logits_of(classes: list[int], labels: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(classes), labels).float()


def test_binary_metrics_follow_glue():
    # 3 true positives, 1 false positive, 2 false negatives, 4 true negatives
    truth = torch.tensor([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    found = logits_of([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], 2)
    metrics = task_metrics(TEXT_CLASSIFICATION, found, truth)
    assert metrics["accuracy"] == pytest.approx(0.7)
    assert metrics["f1"] == pytest.approx(6 / 9)
    assert metrics["combined_score"] == pytest.approx((0.7 + 6 / 9) / 2)
    matthews = (3 * 4 - 1 * 2) / (4 * 5 * 5 * 6) ** 0.5
    assert metrics["matthews_correlation"] == pytest.approx(matthews)


def test_f1_is_macro_averaged_for_more_than_two_classes():
    truth = torch.tensor([0, 0, 1, 2])
    metrics = task_metrics(TEXT_CLASSIFICATION, logits_of([0, 1, 1, 2], 3), truth)
    assert metrics["f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


@pytest.mark.filterwarnings("ignore:A single label was found")
@pytest.mark.parametrize("head", [2, 3, 5])
@pytest.mark.parametrize("true_classes", [1, 2, 3, 5])
@pytest.mark.parametrize("called_classes", [1, 2, 3, 5])
def test_classification_metrics_are_scikit_learns(
    head: int, true_classes: int, called_classes: int
):
    """By the average that the head says, whatever classes the labels and a subnet use of it."""
    rng = np.random.default_rng(true_classes)
    for _ in range(10):
        truth = rng.integers(min(head, true_classes), size=30)
        called = rng.integers(min(head, called_classes), size=30)
        metrics = task_metrics(
            TEXT_CLASSIFICATION, logits_of(called.tolist(), head), torch.from_numpy(truth)
        )
        average = "binary" if head == 2 else "macro"
        f1 = f1_score(truth, called, average=average, zero_division=0.0)
        assert metrics["accuracy"] == accuracy_score(truth, called)
        assert metrics["f1"] == pytest.approx(f1)
        assert metrics["combined_score"] == pytest.approx((metrics["accuracy"] + f1) / 2)
        assert metrics["matthews_correlation"] == pytest.approx(matthews_corrcoef(truth, called))


def test_f1_of_three_classes_stays_macro_when_a_subnet_predicts_but_two():
    truth = torch.tensor([0, 0, 0, 1])
    metrics = task_metrics(TEXT_CLASSIFICATION, logits_of([0, 0, 0, 0], 3), truth)
    assert metrics["f1"] == pytest.approx((6 / 7 + 0) / 2)  # class 1's alone would be 0
    one_more = task_metrics(TEXT_CLASSIFICATION, logits_of([0, 0, 2, 1], 3), truth)
    assert one_more["f1"] == pytest.approx((4 / 5 + 1 + 0) / 3)


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_that_the_head_does_not_have_is_refused(label: int):
    with pytest.raises(InputError, match=f"2 classes, 0 to 1.*{label}"):
        task_metrics(TEXT_CLASSIFICATION, logits_of([0, 1], 2), torch.tensor([0, label]))


def test_correlations_of_a_regression():
    truth = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    metrics = task_metrics(TEXT_REGRESSION, torch.tensor([[1.0], [2.0], [3.0], [10.0]]), truth)
    assert metrics["spearman"] == pytest.approx(1.0)
    assert metrics["pearson"] == pytest.approx(14 / (5 * 50) ** 0.5)
    combined = (metrics["pearson"] + metrics["spearman"]) / 2
    assert metrics["combined_score"] == pytest.approx(combined)


def test_a_constant_prediction_counts_as_no_correlation():
    truth = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    metrics = task_metrics(TEXT_REGRESSION, torch.zeros(3, 1), truth)
    assert set(metrics.values()) == {0.0}
    classes = task_metrics(TEXT_CLASSIFICATION, logits_of([0, 0], 2), torch.tensor([0, 1]))
    assert classes["matthews_correlation"] == 0.0


@pytest.mark.parametrize("task", [TEXT_CLASSIFICATION, TEXT_REGRESSION])
def test_every_metric_that_a_task_promises_is_computed(task):
    labels = torch.tensor([0, 1, 1]) if task is TEXT_CLASSIFICATION else torch.rand(3).double()
    columns = 2 if task is TEXT_CLASSIFICATION else 1
    metrics = task_metrics(task, torch.rand(3, columns), labels)
    assert list(metrics) == [metric.name for metric in task.metrics]
