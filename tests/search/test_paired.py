"""Paired intervals of differences."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from elasticnas.api_schemas.racing import Hits
from elasticnas.search.paired import of_hits, of_resamples
from elasticnas.search.races.course import pack


def bits(*shares: float, rows: int = 400) -> tuple[Hits, Hits]:
    """Two subnets: both right, only b, only a, on these shares of the rows; else both wrong."""
    both, gained, lost = (round(share * rows) for share in shares)
    a, b = np.zeros((2, rows), dtype=bool)
    a[: both + lost] = True
    b[:both] = True
    b[both + lost : both + lost + gained] = True
    return pack(a), pack(b)


def test_a_difference_of_hits_is_as_a_bootstrap_of_the_rows_finds_it():
    a, b = bits(0.7, 0.1, 0.05)
    found = of_hits(a, b)
    change = np.r_[np.ones(40), -np.ones(20), np.zeros(340)]
    rng = np.random.default_rng(1)
    drawn = np.mean(rng.choice(change, size=(4000, 400)), axis=1)
    assert found.value == pytest.approx(0.05)
    assert (found.low, found.high) == pytest.approx(
        tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.006
    )


def test_where_the_same_rows_are_right_there_is_no_doubt():
    a, b = bits(0.7, 0.0, 0.0)
    assert of_hits(a, b).model_dump() == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_hits_of_other_rows_are_refused():
    with pytest.raises(ValueError, match="400 and 200 rows"):
        of_hits(bits(0.5, 0, 0)[0], bits(0.5, 0, 0, rows=200)[0])


def test_resamples_are_compared_one_by_one():
    """What varies together cancels out."""
    common = np.linspace(0.5, 0.9, 1000)

    def packed(values: np.ndarray) -> str:
        return base64.b64encode(values.astype("<f4").tobytes()).decode()

    found = of_resamples(0.1, packed(common), packed(common + 0.1))
    assert (found.low, found.high) == pytest.approx((0.1, 0.1), abs=1e-6)
