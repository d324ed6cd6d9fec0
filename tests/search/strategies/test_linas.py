from __future__ import annotations

import pytest

from elasticnas.api_schemas.searches import SearchCreate
from tests.search.strategies.searching import loop, run


def test_a_population_starts_once_the_one_before_is_told_in_full():
    search = loop({"name": "linas", "population_size": 6, "generations": 5}, evaluations=18)
    proposals = list(search.start())
    assert [p.number for p in proposals] == list(range(6))
    for proposal in proposals[1:]:
        assert search.record(proposal.number, {"accuracy": 0.7}).proposals == ()
    assert len(search.record(0, {"accuracy": 0.7}).proposals) == 6


@pytest.mark.parametrize("predictor", ["ridge", "svr"])
def test_beats_random(predictor):
    def hypervolume(strategy, seed):
        search = loop(strategy, evaluations=80, seed=seed)
        run(search)
        return search.archive.hypervolume

    linas = {"name": "linas", "population_size": 20, "predictor": predictor}
    ours = sum(hypervolume(linas, seed) for seed in range(3))
    assert ours > sum(hypervolume({"name": "random"}, seed) for seed in range(3))


def test_three_objectives():
    fields = {"evaluations": 30, "objectives": ["accuracy", "gflops", "params"]}
    assert len(run(loop({"name": "linas", "population_size": 10}, **fields))) == 30


@pytest.mark.parametrize(("evaluations", "population"), [(20, 10), (100, 20), (1000, 50)])
def test_the_population_follows_the_budget_unless_it_is_given(evaluations, population):
    fields = {"supernet_id": "s", "dataset_id": "d", "budget": {"evaluations": evaluations}}
    found = SearchCreate(strategy={"name": "linas"}, **fields)
    assert found.strategy.population_size == population
    given = SearchCreate(strategy={"name": "linas", "population_size": 7}, **fields)
    assert given.strategy.population_size == 7


def test_an_extended_search_goes_on_with_the_population_it_began_with():
    begun = SearchCreate(supernet_id="s", dataset_id="d", strategy={"name": "linas"})
    stored = begun.model_dump(mode="json") | {"budget": {"evaluations": 50_000}}
    extended = SearchCreate.model_validate(stored)
    assert extended.strategy == begun.strategy
    assert begun.strategy.population_size == 40
