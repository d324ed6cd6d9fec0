"""Whole searches that race, on rows of unequal difficulty."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import pytest

from elasticnas.api_schemas.racing import GivenUp, Hits
from elasticnas.api_schemas.searches import Budget
from elasticnas.search.cost import cost_report
from elasticnas.search.loop import Proposal, Recorded, SearchLoop
from elasticnas.search.races.course import PILOTS, Course, pack, unpack
from elasticnas.search.space import SubnetConfig
from tests.search.crowd import ROWS, hits, seed_of
from tests.search.spaces import accuracy, cost_model
from tests.search.test_loop import loop, request

STRATEGIES = [{"name": "pareto"}, {"name": "nsga2", "population_size": 12}]
RACING = {"confidence": 0.9}


def bits_of(subnet: SubnetConfig):
    """Which rows a subnet gets right; a better one gets more."""
    return hits(accuracy(subnet)["accuracy"], seed_of(subnet))


@dataclass
class Racecourse:
    """Stands in for the workers: runs every subnet against its rival."""

    search: SearchLoop
    done: dict[int, Recorded] = field(default_factory=dict)
    begun: dict[int, Proposal] = field(default_factory=dict)
    rows: int = 0
    knows_all: bool = False
    """Whether every row of every subnet is known already, as from the database."""

    def outcome(self, proposal: Proposal) -> tuple[dict[str, float] | None, Hits | None, GivenUp]:
        bits = bits_of(proposal.subnet)
        found = None
        if proposal.rival is not None and not self.knows_all:
            course = Course([unpack(hits) for hits in self.search.course_hits])
            lost = course.lost_at(bits, unpack(proposal.rival.hits), RACING["confidence"])
            found = None if lost is None else lost.against(proposal.rival.number)
        self.rows += ROWS if found is None else found.rows
        if found is not None:
            return None, None, found
        return {"accuracy": float(np.mean(bits))}, pack(bits), None

    def run(self, *, shuffle: int | None = None, at_most: int = 10_000) -> Racecourse:
        rng = random.Random(shuffle)
        waiting = deque(self.search.start())
        self.begun |= {each.number: each for each in waiting}
        while waiting and len(self.done) < at_most:
            index = rng.randrange(len(waiting)) if shuffle is not None else 0
            proposal = waiting[index]
            del waiting[index]
            metrics, own, given_up = self.outcome(proposal)
            step = self.search.record(proposal.number, metrics, hits=own, given_up=given_up)
            lost = step.given_up is not None
            self.done[proposal.number] = Recorded(
                proposal.number,
                proposal.subnet,
                finished=True,
                metrics=None if lost else metrics,
                hits=None if lost else own,
                given_up=step.given_up,
                rival=None if proposal.rival is None else proposal.rival.number,
            )
            waiting.extend(step.proposals)
            self.begun |= {each.number: each for each in step.proposals}
        return self

    def rows_so_far(self) -> list[Recorded]:
        """What the database holds of the search."""
        return [
            self.done.get(n)
            or Recorded(
                n,
                each.subnet,
                finished=False,
                rival=None if each.rival is None else each.rival.number,
            )
            for n, each in sorted(self.begun.items())
        ]

    def subnets(self) -> list[SubnetConfig]:
        return [self.begun[number].subnet for number in sorted(self.begun)]

    def rivals(self) -> list[int | None]:
        numbers = sorted(self.begun)
        return [None if (r := self.begun[n].rival) is None else r.number for n in numbers]


def races(strategy, **fields) -> Racecourse:
    return Racecourse(
        loop(request(strategy=strategy, racing=RACING, budget={"evaluations": 60}, **fields))
    )


@cache
def undisturbed(name: str) -> Racecourse:
    """A search of a strategy that nothing happened to; not to be changed."""
    return races(next(each for each in STRATEGIES if each["name"] == name)).run()


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s["name"])
class TestEveryStrategy:
    def test_half_of_the_rows_are_spared_and_the_front_was_run_to_the_end(self, strategy):
        run = undisturbed(strategy["name"])
        given_up = [each for each in run.done.values() if each.given_up is not None]
        assert len(run.done) == 60
        assert len(given_up) > 10
        assert run.rows < 0.75 * 60 * ROWS
        for number in run.search.archive.numbers:
            assert run.done[number].given_up is None
            assert run.done[number].hits is not None

    def test_the_front_is_about_that_of_a_search_that_does_not_race(self, strategy):
        racing = undisturbed(strategy["name"]).search.archive.hypervolume
        plain = Racecourse(loop(request(strategy=strategy, budget={"evaluations": 60}))).run()
        assert racing == pytest.approx(plain.search.archive.hypervolume, rel=0.02)

    def test_a_rival_costs_no_more_was_measured_on_every_row_and_is_the_best_such(self, strategy):
        run = undisturbed(strategy["name"])
        model = cost_model(4)
        gflops = {
            number: cost_report(model, each.subnet, 64).gflops for number, each in run.done.items()
        }
        checked = 0
        for number, proposal in run.begun.items():
            if proposal.rival is None:
                continue
            rival = proposal.rival.number
            assert run.done[rival].given_up is None
            assert rival < number
            assert gflops[rival] <= gflops[number]
            # At most 8 are in flight; a generational strategy may have been told of more.
            best = max(
                np.mean(bits_of(run.done[other].subnet))
                for other in range(number - 7)
                if run.done[other].given_up is None and gflops[other] <= gflops[number]
            )
            assert np.mean(unpack(proposal.rival.hits)) >= best
            checked += 1
        assert checked > 20

    def test_does_not_depend_on_the_order_in_which_results_arrive(self, strategy):
        in_order = undisturbed(strategy["name"])
        shuffled = races(strategy).run(shuffle=1)
        assert shuffled.subnets() == in_order.subnets()
        assert shuffled.rivals() == in_order.rivals()

    @pytest.mark.parametrize("died_after", [PILOTS - 3, 40])
    def test_goes_on_from_its_records_as_if_nothing_had_happened(self, strategy, died_after):
        whole = undisturbed(strategy["name"])
        run = races(strategy).run(shuffle=3, at_most=died_after)
        restored = loop(run.search._request, run.rows_so_far(), pilots=run.search.pilots)
        again = Racecourse(restored, done=run.done, begun=run.begun)
        waiting = [each for n, each in sorted(run.begun.items()) if n not in run.done]
        assert [again.search.rival(each.number) for each in waiting] == [w.rival for w in waiting]
        again.search.start()
        for proposal in waiting:
            metrics, own, given_up = again.outcome(proposal)
            step = again.search.record(proposal.number, metrics, hits=own, given_up=given_up)
            waiting.extend(step.proposals)
            again.begun |= {each.number: each for each in step.proposals}
        assert again.subnets() == whole.subnets()
        assert again.rivals() == whole.rivals()

    def test_what_the_database_knows_in_full_is_given_up_all_the_same(self, strategy):
        measured = undisturbed(strategy["name"])
        known = races(strategy)
        known.knows_all = True
        known.run()
        assert known.subnets() == measured.subnets()
        assert known.rivals() == measured.rivals()
        assert known.done == measured.done
        assert known.search.archive.numbers == measured.search.archive.numbers


def test_given_and_reference_subnets_have_no_rival():
    chosen = [{"layer.0.attention.heads": heads} for heads in (9, 6)]
    run = races({"name": "random"}, initial_subnets=chosen).run()
    origins = {n: each.origin for n, each in run.begun.items() if each.rival is not None}
    assert set(origins.values()) == {"strategy"}
    assert min(origins) >= PILOTS


def test_a_failed_evaluation_is_no_rival_and_no_pilot():
    search = loop(request(strategy={"name": "random"}, racing=RACING, budget={"evaluations": 60}))
    waiting = deque(search.start())
    rivals = set()
    while waiting:
        proposal = waiting.popleft()
        rivals.add(None if proposal.rival is None else proposal.rival.number)
        if proposal.number % 2:
            step = search.record(proposal.number, None)
        else:
            bits = bits_of(proposal.subnet)
            metrics = {"accuracy": float(np.mean(bits))}
            step = search.record(proposal.number, metrics, hits=pack(bits))
        waiting.extend(step.proposals)
    assert len(rivals) > 2
    assert all(number is None or number % 2 == 0 for number in rivals)


@pytest.mark.parametrize("failed", [3, 30])
def test_what_failed_and_is_measured_after_all_changes_no_race_that_was_run(failed: int):
    create = request(strategy={"name": "pareto"}, racing=RACING, budget={"evaluations": 60})
    run = Racecourse(loop(create))
    real = run.outcome
    run.outcome = lambda each: (None, None, None) if each.number == failed else real(each)
    run.run()
    laid = run.search.pilots
    assert laid is not None
    assert failed not in laid
    rows = run.rows_so_far()
    rows[failed] = Recorded(failed, rows[failed].subnet, finished=False, rival=rows[failed].rival)
    again = loop(create, rows, pilots=laid)
    # It is raced by the course that was laid without it, also while it is missing.
    assert again.course_hits == run.search.course_hits
    assert again.rival(failed) == run.begun[failed].rival
    assert sorted(again.archive.numbers) == sorted(run.search.archive.numbers)
    metrics, own, given_up = real(run.begun[failed])
    again.record(failed, metrics, hits=own, given_up=given_up)
    assert again.pilots == laid
    assert again.course_hits == run.search.course_hits
    assert again.is_over


def test_an_extended_search_races_on_as_if_it_had_had_that_budget_from_the_start():
    whole = undisturbed("pareto")
    short = request(strategy={"name": "pareto"}, racing=RACING, budget={"evaluations": 35})
    run = Racecourse(loop(short)).run()
    longer = short.model_copy(update={"budget": Budget(evaluations=60)})
    restored = loop(longer, run.rows_so_far(), pilots=run.search.pilots)
    again = Racecourse(restored, done=run.done, begun=run.begun).run()
    assert again.subnets() == whole.subnets()
    assert again.rivals() == whole.rivals()
    assert again.done == whole.done


def test_hits_are_kept_of_those_alone_who_may_still_be_raced_against():
    run = races({"name": "random"}).run()
    kept = set(run.search._races._hits)
    assert kept == {*run.search.pilots, *run.search.archive.numbers}
    assert len(kept) < sum(each.hits is not None for each in run.done.values())
