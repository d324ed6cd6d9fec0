from __future__ import annotations

import numpy as np
import pytest

from elasticnas.tasks import METRICS, MULTIPLE_CHOICE, PERPLEXITY_TASK, multiple_choice
from elasticnas.tasks.perplexity import LABEL, PerplexitySettings


def test_the_error_of_an_accuracy_is_binomial():
    assert METRICS["accuracy"].standard_error(np.array([0.8]), 872)[0] == pytest.approx(
        (0.8 * 0.2 / 872) ** 0.5, rel=0.01
    )


def test_a_perfect_score_on_few_rows_is_not_certain():
    assert METRICS["accuracy"].standard_error(np.array([1.0]), 20)[0] > 0.02
    assert METRICS["pearson"].standard_error(np.array([1.0]), 20)[0] > 0


@pytest.mark.parametrize("metric", ["matthews_correlation", "pearson"])
def test_the_error_of_a_correlation_is_that_of_drawn_ones(metric):
    rng = np.random.default_rng(0)
    left = rng.normal(size=(2000, 200))
    right = 0.6 * left + 0.8 * rng.normal(size=(2000, 200))
    drawn = [np.corrcoef(a, b)[0, 1] for a, b in zip(left, right, strict=True)]
    found = METRICS[metric].standard_error(np.array([0.6]), 200)[0]
    assert found == pytest.approx(np.std(drawn), rel=0.1)


def test_what_a_broken_subnet_scores_can_be_sent():
    """JSON has no infinity: a search would wait for the outcome for ever."""
    settings = PerplexitySettings(prompt="{text}")
    raw = np.array([[-1e6, 10.0], [-3.0, 2.0]])
    outcomes = PERPLEXITY_TASK.outcomes(raw, np.ones(2, LABEL), settings)
    measured = PERPLEXITY_TASK.measure(outcomes)
    assert measured["perplexity"] > 1e100
    assert np.isfinite(measured["perplexity"] ** 2)


def test_a_metric_that_is_no_number_is_an_error():
    outcomes = np.zeros(2, multiple_choice.OUTCOME)
    outcomes["log_likelihood"] = [-1.0, -np.inf]
    with pytest.raises(ArithmeticError, match="mean_log_likelihood"):
        MULTIPLE_CHOICE.measure(outcomes)
