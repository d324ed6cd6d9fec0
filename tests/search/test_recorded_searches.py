"""A search of today makes the evaluations that were recorded, number by number."""

from __future__ import annotations

import json

import pytest

from tests.search.recorded.searches import CASES, FILE, SLOW, run

RECORDED = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "case",
    [*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW)],
    ids=lambda case: case.name,
)
def test_the_evaluations_are_those_recorded(case):
    assert run(case) == RECORDED[case.name]


def test_every_recorded_search_is_run_again():
    assert {case.name for case in (*CASES, *SLOW)} == set(RECORDED)
