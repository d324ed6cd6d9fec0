from __future__ import annotations

import subprocess
import sys

import numpy as np
import optuna
import pytest

from search.strategies.layer_crossover import LayerCrossover
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


@pytest.mark.parametrize("name", ["nsga2", "nsga3"])
def test_layer_crossover_spends_its_budget_and_goes_on_from_its_records(name):
    strategy = {"name": name, "population_size": 8, "crossover": "layer"}
    undisturbed = run(loop(strategy, evaluations=40))
    assert len({p.subnet for p in undisturbed}) == 40
    assert resumed(strategy, undisturbed, died_after=25) == [p.subnet for p in undisturbed]


def test_a_layer_child_has_its_first_layers_from_one_parent_and_the_rest_from_the_other():
    parents = np.array([[1.0] * 5, [2.0] * 5])
    rng = np.random.RandomState(0)
    study = optuna.create_study()
    crossover = LayerCrossover([1, 0, 3, 1, 3])
    children = {
        tuple(crossover.crossover(parents, rng, study, np.zeros((5, 2)))) for _ in range(100)
    }
    assert children == {(2.0, 1.0, 2.0, 2.0, 2.0), (1.0, 1.0, 2.0, 1.0, 2.0)}
    of_one_layer = LayerCrossover([0, 0]).crossover(parents[:, :2], rng, study, np.zeros((2, 2)))
    assert of_one_layer.tolist() == [1.0, 1.0]


def test_bred_without_mutation_children_are_two_parents_put_together_between_two_layers():
    def of_two_parents(crossover: str) -> int:
        """How many of the second generation are; a repeated child is replaced by another subnet."""
        strategy = {
            "name": "nsga2",
            "population_size": 20,
            "crossover": crossover,
            "crossover_prob": 1.0,
            "mutation_prob": 0.0,
        }
        subnets = [p.subnet.choices for p in run(loop(strategy, evaluations=40, layers=6))]
        per_layer = 2
        return sum(
            any(
                child[:cut] in {parent[:cut] for parent in subnets[:20]}
                and child[cut:] in {parent[cut:] for parent in subnets[:20]}
                for cut in range(per_layer, len(child), per_layer)
            )
            for child in subnets[20:]
        )

    assert of_two_parents("layer") >= 15
    assert of_two_parents("uniform") <= 5


def test_no_other_strategy_imports_torch():
    program = "import sys, search.loop; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
