"""Who goes next when workers are scarce."""

from __future__ import annotations

from collections import Counter

from elasticnas.service.searches.dispatch import FairShare


def share(weights: dict[str, float], rounds: int, seconds: float = 2.0) -> Counter[str]:
    shares, given = FairShare(), Counter[str]()
    for _ in range(rounds):
        chosen = shares.next(weights)
        shares.charge(chosen, seconds, weights[chosen])
        given[chosen] += 1
    return given


def test_equal_searches_get_equal_shares():
    assert share({f"s{i}": 1.0 for i in range(10)}, 100) == {f"s{i}": 10 for i in range(10)}


def test_a_search_of_twice_the_weight_gets_twice_the_share():
    assert share({"heavy": 2.0, "light": 1.0}, 30) == {"heavy": 20, "light": 10}


def test_what_counts_is_seconds_of_workers_and_not_messages():
    shares, given = FairShare(), Counter[str]()
    cost = {"slow": 4.0, "fast": 1.0}
    for _ in range(50):
        chosen = shares.next({"slow": 1.0, "fast": 1.0})
        shares.charge(chosen, cost[chosen], 1.0)
        given[chosen] += 1
    assert given == {"slow": 10, "fast": 40}


def test_a_newcomer_does_not_claim_the_time_before_it_came():
    shares = FairShare()
    for _ in range(100):
        shares.charge(shares.next({"old": 1.0}), 1.0, 1.0)
    given = Counter[str]()
    for _ in range(20):
        chosen = shares.next({"old": 1.0, "new": 1.0})
        shares.charge(chosen, 1.0, 1.0)
        given[chosen] += 1
    assert abs(given["old"] - given["new"]) <= 2
