"""EFTNAS's benchmark: its searches, on a small model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import eftnas
from elasticnas.api_schemas.racing import Racing
from elasticnas.search.pareto import hypervolume
from elasticnas.supernet.checkpoint.reader import read_supernet
from tests.supernet.test_evaluation import examples
from tests.supernet.tiny import write_checkpoint


@pytest.mark.slow
def test_a_search_with_races_measures_what_single_evaluations_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(eftnas, "EVALUATIONS", 24)
    monkeypatch.setattr(eftnas, "POPULATION", 6)
    supernet = read_supernet(write_checkpoint(tmp_path))
    measure = eftnas.Measure(supernet, examples(supernet))
    loop, _ = eftnas.begun(measure, Racing(), seed=1)
    found = [(each.subnet, each.cost, a) for each, a in eftnas.measured(loop, measure, Racing())]
    assert 8 < len(found) <= 24
    for subnet, _, accuracy in found:
        assert measure.subnet(subnet) == pytest.approx(accuracy)
    full = max(cost.gflops for _, cost, _ in found)
    losses = np.array([[1 - accuracy, cost.gflops / full] for _, cost, accuracy in found])
    expected = hypervolume(losses, np.array([0.5, 1.0]))
    assert eftnas.searched(measure, seed=1) == pytest.approx(expected)
