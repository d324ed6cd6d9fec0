from __future__ import annotations

import subprocess
import sys

import numpy as np
import optuna

from search.strategies.ordinal_crossover import OrdinalCrossover
from tests.search.strategies.searching import loop, resumed, run

GP = {"name": "gp", "n_startup_trials": 12}


def test_gp_goes_on_from_its_records_as_if_nothing_had_happened():
    undisturbed = run(loop(GP, evaluations=22))
    assert len({p.subnet for p in undisturbed}) == 22
    assert resumed(GP, undisturbed, died_after=12) == [p.subnet for p in undisturbed]


def test_nsga2_with_ordinal_crossover_spends_its_budget():
    strategy = {"name": "nsga2", "population_size": 8, "crossover": "ordinal"}
    assert len({p.subnet for p in run(loop(strategy, evaluations=40))}) == 40


def test_an_ordinal_child_takes_any_choice_between_its_parents():
    parents = np.array([[0.0, 3.0, 2.0], [2.0, 3.0, 0.0]])
    rng = np.random.RandomState(0)
    study = optuna.create_study()
    children = np.array(
        [OrdinalCrossover().crossover(parents, rng, study, np.zeros((3, 2))) for _ in range(300)]
    )
    assert {tuple(np.unique(column)) for column in children.T} == {(0.0, 1.0, 2.0), (3.0,)}


def test_no_other_strategy_imports_torch():
    program = "import sys, search.loop; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
