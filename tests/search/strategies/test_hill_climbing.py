from __future__ import annotations

from tests.search.spaces import accuracy, space
from tests.search.strategies.searching import loop, run

CLIMBING = {"name": "hill-climbing", "neighbours": 8}


def steps_apart(one, other) -> int:
    searched = space()
    pairs = zip(searched.encode(one), searched.encode(other), strict=True)
    return sum(abs(a - b) for a, b in pairs)


def test_the_first_round_is_around_the_heuristic_subnet():
    found = run(loop(CLIMBING, evaluations=8))
    own = [p for p in found if p.origin == "strategy"]
    assert all(steps_apart(p.subnet, space().heuristic) == 1 for p in own)


def test_the_next_round_is_around_the_best_of_the_first():
    found = run(loop(CLIMBING, evaluations=16))
    first, second = found[:8], found[8:]
    centres = [p for p in first if all(steps_apart(p.subnet, s.subnet) == 1 for s in second)]
    assert centres


def test_begins_another_climb_at_the_top():
    found = run(loop(CLIMBING, evaluations=200), accuracy)
    assert len({p.subnet for p in found}) == 200
    costs = [p.cost.gflops for p in found]
    assert max(costs[50:]) > 1.5 * min(costs[50:])


def test_three_objectives():
    fields = {"evaluations": 30, "objectives": ["accuracy", "gflops", "params"]}
    assert len(run(loop(CLIMBING, **fields))) == 30
