"""How far a difference of two subnets, measured on the same rows, may be off."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.racing import Hits
from elasticnas.api_schemas.verification import Interval
from elasticnas.search.races.course import unpack

RESAMPLES = 1000
TAILS = (0.025, 0.975)


def of_hits(a: Hits, b: Hits) -> Interval:
    """The difference of the shares of right rows, b - a, with its interval of 95 %.

    By the paired bootstrap (Efron & Tibshirani 1993, ch. 13): of a resample only how many rows b
    alone and a alone gets right matters, which is multinomial, so no row need be drawn.

    Raises:
        ValueError: they are not of the same rows.
    """
    if a.rows != b.rows:
        raise ValueError(f"{a.rows} and {b.rows} rows are not the same")
    right = unpack(a), unpack(b)
    gains = float(np.mean(~right[0] & right[1]))
    losses = float(np.mean(right[0] & ~right[1]))
    shares = [gains, losses, max(0.0, 1.0 - gains - losses)]
    drawn = np.random.default_rng(0).multinomial(a.rows, shares, size=RESAMPLES)
    return _interval(gains - losses, (drawn[:, 0] - drawn[:, 1]) / a.rows)


def of_resamples(difference: float, a: str, b: str) -> Interval:
    """A difference with its interval of 95 %, from both subnets' values on the same resamples.

    These come packed as in `Resamples`.
    """
    return _interval(difference, _unpacked(b) - _unpacked(a))


def _unpacked(text: str) -> NDArray[np.float64]:
    return np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float64)


def _interval(value: float, drawn: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(drawn, TAILS)
    return Interval(value=value, low=float(low), high=float(high))
