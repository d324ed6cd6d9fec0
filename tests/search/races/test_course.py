"""Races of made-up subnets, whose end is known."""

from __future__ import annotations

import numpy as np
import pytest

from elasticnas.api_schemas.racing import Hits
from elasticnas.search.races.course import LAPS, PILOTS, SHORTEST_LAP, Course, pack, unpack
from tests.search.crowd import ROWS, hits


def course(rows: int = ROWS) -> Course:
    return Course(
        [hits(0.3 + 0.06 * pilot, seed=100 + pilot, rows=rows) for pilot in range(PILOTS)]
    )


@pytest.mark.parametrize("rows", [1, 8, 9, 872])
def test_hits_travel(rows: int):
    bits = np.random.default_rng(rows).random(rows) < 0.8
    packed = pack(bits)
    assert packed.rows == rows
    np.testing.assert_array_equal(unpack(Hits.model_validate_json(packed.model_dump_json())), bits)


def test_too_few_bits_are_refused():
    with pytest.raises(ValueError, match="8 bits cannot say"):
        unpack(Hits(rows=9, bits=pack(np.ones(8, dtype=bool)).bits))


def test_the_rows_that_pilots_disagree_on_come_first_and_every_row_once():
    pilots = [hits(0.3 + 0.06 * pilot, seed=100 + pilot) for pilot in range(PILOTS)]
    laid = Course(pilots)
    assert sorted(laid.order.tolist()) == list(range(ROWS))
    right = np.sum(pilots, axis=0)[laid.order]
    contested = np.minimum(right, PILOTS - right)
    assert list(contested) == sorted(contested, reverse=True)
    assert contested[0] > 0
    assert contested[-1] == 0
    np.testing.assert_array_equal(laid.order, Course(pilots).order)


@pytest.mark.parametrize("rows", [3, SHORTEST_LAP, 2 * SHORTEST_LAP, 277, 872, 10_001])
def test_laps_end_with_the_last_row_and_are_not_too_short(rows: int):
    laps = course(rows).laps
    lengths = np.diff([0, *laps])
    assert laps[-1] == rows
    assert len(laps) <= LAPS
    assert len(laps) == 1 or min(lengths) >= SHORTEST_LAP
    assert max(lengths) - min(lengths) <= 1


def test_who_cannot_gain_any_more_has_lost_for_certain():
    laid = course()
    rival = hits(0.6, seed=1)
    # No better than the rival on any row: whatever the confidence, nothing is left to win.
    worse = rival & (np.random.default_rng(2).random(ROWS) < 0.99)
    every_gain_run = max(np.flatnonzero(~rival[laid.order])) + 1
    assert laid.standing(worse, rival, rows=int(every_gain_run)).chance < 1e-9
    assert laid.standing(rival, rival, rows=ROWS).chance == 0.0
    better = rival.copy()
    better[laid.order[:2]] = True
    better[np.flatnonzero(~rival)[:3]] = True
    assert laid.standing(better, rival, rows=ROWS).chance == pytest.approx(1.0)


def test_only_rows_already_run_are_looked_at():
    laid = course()
    rival, own = hits(0.6, seed=1), hits(0.5, seed=2)
    rows = laid.laps[2]
    blank = own.copy()
    blank[laid.order[rows:]] = False
    assert laid.standing(own, rival, rows=rows) == laid.standing(blank, rival, rows=rows)


def test_the_worse_a_subnet_the_sooner_it_is_given_up():
    laid, rival = course(), hits(0.7, seed=1)
    spent = []
    for ability in (0.1, 0.4, 0.6, 0.66):
        lost = [laid.lost_at(hits(ability, seed), rival, 0.95) for seed in range(2, 42)]
        spent.append(np.mean([ROWS if found is None else found.rows for found in lost]))
    assert spent == sorted(spent)
    assert ROWS / LAPS <= spent[0] < spent[-1] < ROWS


@pytest.mark.parametrize("apart", [0.04, 0.2])
@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95])
def test_of_those_given_up_no_more_would_have_won_than_the_confidence_allows(
    confidence: float, apart: float
):
    laid = course()
    rng = np.random.default_rng(7)
    given_up = wrong = saved = 0
    for seed in range(600):
        rival = hits(0.6, seed)
        own = hits(0.6 + rng.uniform(-apart, apart / 2), seed + 5000)
        found = laid.lost_at(own, rival, confidence)
        if found is not None:
            given_up += 1
            wrong += np.sum(own) > np.sum(rival)
            saved += ROWS - found.rows
    assert given_up > 120
    assert wrong / given_up <= 1 - confidence
    assert saved / given_up > ROWS / 3


def test_what_is_expected_of_those_given_up_is_near_what_all_rows_show():
    laid = course()
    rng = np.random.default_rng(3)
    errors = []
    for seed in range(500):
        rival, own = hits(0.75, seed), hits(rng.uniform(0.3, 0.75), seed + 5000)
        found = laid.lost_at(own, rival, 0.9)
        if found is not None:
            errors.append(found.estimate - np.mean(own))
            assert found.rival == np.mean(rival)
    assert abs(np.mean(errors)) < 0.005
    assert np.std(errors) < 0.02
