from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from elasticnas.supernet.checkpoint.reader import read_supernet
from elasticnas.supernet.forward.activation import activate
from elasticnas.supernet.measuring.measure import predict
from elasticnas.worker import calibration
from elasticnas.worker.calibration import TOKEN_BUDGETS, Calibration, thread_counts
from tests.supernet.test_evaluation import examples
from tests.supernet.tiny import write_checkpoint


@pytest.fixture(autouse=True)
def _same_threads_afterwards() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def rates(monkeypatch: pytest.MonkeyPatch, rate) -> list[tuple[int, int]]:
    """Let trials find ``rate(threads, token budget)``; returns the trials made."""
    trials = []

    def tokens_per_second(_supernet, _examples, token_budget: int) -> float:
        trials.append((torch.get_num_threads(), token_budget))
        return rate(*trials[-1])

    monkeypatch.setattr(calibration, "_tokens_per_second", tokens_per_second)
    return trials


def test_the_fastest_threads_and_token_budget_win(tmp_path: Path, monkeypatch):
    supernet = read_supernet(write_checkpoint(tmp_path))
    trials = rates(monkeypatch, lambda threads, budget: 1e9 * threads + 1e9 * (budget == 4096))
    chosen = Calibration((1, 2), seconds=60)
    assert chosen.token_budget(supernet, examples(supernet)) == 4096
    assert torch.get_num_threads() == 2
    trials.clear()
    chosen.token_budget(supernet, examples(supernet))
    assert [threads for threads, _ in trials] == [2] * len(TOKEN_BUDGETS)


def test_a_gain_that_may_be_chance_changes_nothing(tmp_path: Path, monkeypatch):
    supernet = read_supernet(write_checkpoint(tmp_path))
    rates(monkeypatch, lambda threads, budget: 1e9 + threads + budget)
    budget = Calibration((1, 2), seconds=60).token_budget(supernet, examples(supernet))
    assert (torch.get_num_threads(), budget) == (1, TOKEN_BUDGETS[0])


def test_no_trial_is_begun_that_would_end_too_late(tmp_path: Path, monkeypatch):
    supernet = read_supernet(write_checkpoint(tmp_path))
    trials = rates(monkeypatch, lambda _threads, budget: budget / 3600)
    Calibration((1, 2), seconds=60).token_budget(supernet, examples(supernet))
    assert len(trials) == 2


def test_a_real_calibration_leaves_predictions_as_they_were(tmp_path: Path):
    supernet = read_supernet(write_checkpoint(tmp_path))
    rows = examples(supernet)
    active = activate(supernet, supernet.space.heuristic)
    with torch.inference_mode():
        before = predict(active, rows.batches(4096), rows=60)
        budget = Calibration(thread_counts(), seconds=0.5).token_budget(supernet, rows)
        after = predict(active, rows.batches(budget), rows=60)
    assert budget in TOKEN_BUDGETS
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
