"""Successive halving: who goes on, who is stopped, and what is expected of those."""

from __future__ import annotations

import random

import numpy as np
import pytest

from elasticnas.api_schemas.halving import Halving
from elasticnas.search.loop import Proposal, Recorded, SearchLoop
from elasticnas.search.races.brackets import Brackets, Climber, Fate, Moves, best
from tests.search.spaces import accuracy
from tests.search.test_loop import loop, request

HALVING = Halving(eta=2, rungs=3)


def test_rungs_are_shares_of_the_whole_training():
    halving = Halving(eta=3, rungs=3)
    assert halving.bracket == 9
    assert [halving.steps(rung, 400) for rung in range(3)] == [44, 133, 400]


@pytest.mark.parametrize(
    ("losses", "count", "chosen"),
    [
        # The largest box of its own, then what adds most beside it.
        ([[0.1, 0.9], [0.3, 0.3], [0.9, 0.1]], 1, [1]),
        ([[0.1, 0.9], [0.3, 0.3], [0.8, 0.1], [0.35, 0.35]], 2, [1, 2]),
        # A front is used up before anybody that it dominates.
        ([[0.2, 0.2], [0.3, 0.3], [0.99, 0.1]], 2, [0, 2]),
        ([[0.5, 0.5], [0.5, 0.5]], 1, [0]),
        ([[1.0, 0.2], [1.0, 0.1]], 1, [1]),
    ],
)
def test_the_best_are_those_of_the_front_that_add_most(losses, count, chosen):
    assert best(np.array(losses), count) == chosen


def reached(brackets: Brackets, losses: dict[int, list[float]]) -> Moves:
    for number, each in losses.items():
        brackets.reach(number, np.array(each))
    return brackets.move()


def test_a_bracket_climbs_from_rung_to_rung():
    brackets = Brackets(HALVING)
    assert [brackets.join(number) for number in (3, 4, 5, 6)] == [3, 3, 3, 3]
    assert brackets.join(7) == 7, "the first is full"
    first = {3: [0.5, 0.3], 4: [0.4, 0.4], 5: [0.25, 0.5]}
    assert reached(brackets, first) == Moves(), "one is missing"
    assert reached(brackets, {6: [0.6, 0.6]}) == Moves((3, 5), (4, 6))
    assert brackets.settle() == {}
    assert reached(brackets, {3: [0.48, 0.3], 5: [0.15, 0.5]}) == Moves((5,), (3,))
    assert reached(brackets, {5: [0.1, 0.5]}) == Moves()
    expected = brackets.settle()
    # 5 gained 0.15 from its first rung on, and 0.05 from its second.
    assert expected[4] == pytest.approx([0.25, 0.4])
    assert expected[6] == pytest.approx([0.45, 0.6])
    assert expected[3] == pytest.approx([0.43, 0.3])
    assert brackets.climber(5) is None
    assert brackets.settle() == {}


def test_an_open_bracket_waits_and_a_closed_one_goes_on_with_those_it_has():
    brackets = Brackets(HALVING)
    brackets.join(0)
    brackets.join(1)
    assert reached(brackets, {0: [0.5, 0.3], 1: [0.6, 0.4]}) == Moves()
    assert brackets.is_in_the_open(0)
    brackets.close()
    assert brackets.move() == Moves((0,), (1,))


def test_one_that_fails_makes_way_and_nobody_is_expected_to_gain_where_all_fail():
    brackets = Brackets(HALVING)
    for number in range(4):
        brackets.join(number)
    brackets.fail(2)
    moves = reached(brackets, {0: [0.2, 0.2], 1: [0.3, 0.3], 3: [0.4, 0.4]})
    assert moves == Moves((0,), (1, 3)), "one of three, by halves"
    brackets.fail(0)
    assert {number: list(each) for number, each in brackets.settle().items()} == {
        1: [0.3, 0.3],
        3: [0.4, 0.4],
    }


def test_what_is_restored_is_open_only_if_it_still_may_grow():
    def restored(**changes: object) -> Brackets:
        climbers = [Climber(0, 0), Climber(1, 0)]
        for name, value in changes.items():
            setattr(climbers[0], name, value)
        return Brackets(HALVING, climbers)

    assert restored().join(2) == 0
    assert restored(fate=Fate.FAILED).join(2) == 0
    assert restored(rung=1).join(2) == 2
    assert restored(fate=Fate.STOPPED).join(2) == 2


STRATEGIES = [{"name": "nsga2", "population_size": 12}, {"name": "pareto"}, {"name": "random"}]
SEARCH = {
    "evaluation": {
        "fine_tune": {"dataset_id": "t", "steps": 40, "halving": {"eta": 2, "rungs": 3}}
    },
    "budget": {"evaluations": 31},
}


class Driver:
    """Trains and measures what a search asks for, as a coordinator has it done.

    What a subnet measures rises from rung to rung.
    """

    def __init__(self, create, rng: random.Random) -> None:
        self.create = create
        self.rng = rng
        self.rows: dict[int, Recorded] = {}
        self.trained = 0
        self.search: SearchLoop = loop(create)
        self._place(self.search.start())
        self._move()

    def _place(self, proposals: tuple[Proposal, ...]) -> None:
        for each in proposals:
            self.rows[each.number] = Recorded(
                each.number, each.subnet, finished=False, bracket=each.bracket
            )

    def _change(self, number: int, **fields: object) -> None:
        self.rows[number] = Recorded(**{**self.rows[number].__dict__, **fields})

    def _move(self) -> None:
        moves = self.search.take_moves()
        for number in moves.promoted:
            self._change(number, rung=self.rows[number].rung + 1)
        for number in moves.stopped:
            self._change(number, finished=True, stopped=True)

    def step(self) -> bool:
        ready = [
            number
            for number, row in self.rows.items()
            if not row.finished and len(row.rungs) == row.rung
        ]
        if not ready:
            return False
        number = self.rng.choice(ready)
        row = self.rows[number]
        last = row.bracket is None or row.rung == 2
        self.trained += 1
        whole = accuracy(row.subnet)["accuracy"]
        metrics = {"accuracy": whole if last else whole - 0.1 / (1 + row.rung)}
        if last:
            self._change(number, finished=True, metrics=metrics)
            found = self.search.record(number, metrics)
        else:
            self._change(number, rungs=[*row.rungs, metrics])
            found = self.search.reach(number, metrics)
        self._place(found.proposals)
        self._move()
        return True

    def die(self) -> None:
        self.search = loop(self.create, [row for _, row in sorted(self.rows.items())])
        self._place(self.search.start())
        self._move()


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda each: each["name"])
class TestASearch:
    def test_trains_few_to_the_end_and_those_alone_are_on_the_front(self, strategy):
        create = request(strategy=strategy, **SEARCH)
        assert create.parallel_evaluations == 8, "two brackets"
        driver = Driver(create, random.Random(0))
        while driver.step():
            pass
        assert driver.search.is_over
        assert len(driver.rows) == 31
        whole = {number for number, row in driver.rows.items() if row.metrics is not None}
        raced = [row for row in driver.rows.values() if row.bracket is not None]
        assert len(raced) == 28
        # A strategy that waits for a generation has a bracket begin with fewer.
        assert sum(row.stopped for row in raced) == (20 if strategy["name"] == "nsga2" else 21)
        assert set(driver.search.archive.numbers) <= whole
        assert all(len(row.rungs) >= 1 for row in raced)

    def test_does_not_depend_on_the_order_of_results_nor_on_its_deaths(self, strategy):
        create = request(strategy=strategy, **SEARCH)
        first = Driver(create, random.Random(0))
        while first.step():
            pass
        for seed, deaths in ((1, 0), (2, 7), (3, 3)):
            other = Driver(create, random.Random(seed))
            while other.step():
                if deaths and not other.trained % deaths:
                    other.die()
            assert other.search.is_over
            assert other.rows == first.rows
            assert other.search.archive.hypervolume == first.search.archive.hypervolume


def test_a_budget_that_ends_within_a_bracket_has_it_go_on_with_those_it_has():
    create = request(**{**SEARCH, "budget": {"evaluations": 6}})
    driver = Driver(create, random.Random(0))
    while driver.step():
        pass
    assert driver.search.is_over
    assert [row.stopped for row in driver.rows.values() if row.bracket is not None].count(
        False
    ) == 1


@pytest.mark.parametrize(
    ("halving", "fields", "wrong"),
    [
        ({"eta": 3, "rungs": 3}, {"parallel_evaluations": 8}, "bracket of 9"),
        ({"eta": 1}, {}, "greater than or equal to 2"),
        ({"eta": 2, "rungs": 7}, {}, "at least 64 steps"),
    ],
)
def test_what_cannot_be_raced_is_refused(halving, fields, wrong):
    fine_tune = {"dataset_id": "t", "steps": 40, "halving": halving}
    with pytest.raises(ValueError, match=wrong):
        request(evaluation={"fine_tune": fine_tune}, **fields)


def test_halving_shares_out_steps_that_are_said():
    with pytest.raises(ValueError, match="say how many steps"):
        request(evaluation={"fine_tune": {"dataset_id": "t", "halving": {}}})
