from __future__ import annotations

import pytest

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
