from __future__ import annotations

import warnings

import numpy as np
import optuna
import pytest
from optuna.samplers import NSGAIIISampler, NSGAIISampler

from elasticnas.api_schemas.costs import Cost
from elasticnas.api_schemas.strategies import Nsga2Settings, Nsga3Settings
from elasticnas.search.cost import cost_report
from elasticnas.search.loop import Recorded
from elasticnas.search.objectives import Objectives
from elasticnas.search.problem import SearchProblem
from elasticnas.search.strategies.genetic import GeneticStrategy
from elasticnas.search.strategies.layer_crossover import LayerCrossover
from elasticnas.search.strategies.optuna import choice_ranges, derived_seed
from elasticnas.search.strategies.ordinal_crossover import OrdinalCrossover
from tests.search.spaces import accuracy, cost_model, space
from tests.search.strategies.searching import loop, resumed, run, trials_in_memory


@pytest.mark.parametrize(
    ("settings", "sampler"),
    [
        (Nsga2Settings(population_size=8), NSGAIISampler),
        (Nsga3Settings(population_size=8), NSGAIIISampler),
    ],
    ids=["nsga2", "nsga3"],
)
def test_breeds_what_optuna_breeds_in_a_study_of_all_trials(settings, sampler):
    model = cost_model()
    objectives = Objectives(("accuracy", Cost.GFLOPS), cost_report(model, space().maximal, 64))
    strategy = GeneticStrategy(settings, SearchProblem(space(), model, 64, objectives), seed=5)
    study = optuna.create_study(directions=["minimize", "minimize"])
    ranges = choice_ranges(space())

    def seeded(number: int, attempt: int):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return sampler(population_size=8, seed=derived_seed(5, number, attempt))

    for number in range(60):
        generation, place = divmod(number, 8)
        if place == 0:
            seeded(generation, -1).get_parent_population(study, generation)
        study.sampler = seeded(number, 0)
        trial = study.ask(ranges)
        subnet = strategy.ask(number, 0)
        assert trial.params == dict(zip(ranges, space().encode(subnet), strict=True))
        cost = cost_report(model, subnet, 64).values()
        losses = objectives.losses({"accuracy": round(accuracy(subnet)["accuracy"], 2)}, cost)
        study.tell(trial, losses.tolist())
        strategy.begin(number, subnet)
        strategy.tell(number, losses, failed=False)


@pytest.mark.parametrize("name", ["nsga2", "nsga3"])
def test_holds_its_parents_and_their_children_however_long_the_search(name):
    strategy = {"name": name, "population_size": 8}
    before = trials_in_memory()
    search = loop(strategy, evaluations=203)
    found = run(search)
    assert trials_in_memory() - before == 8 + 203 % 8
    del search
    rows = [Recorded(p.number, p.subnet, True, accuracy(p.subnet)) for p in found]
    restored = loop(strategy, evaluations=300, recorded=rows)
    assert restored.start()
    assert trials_in_memory() - before == 8 + 203 % 8


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
