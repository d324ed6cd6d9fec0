"""Racing: subnets that are given up before every row is measured."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Racing(BaseModel):
    """Give a subnet up once it is this sure that it would not surpass its rival.

    The rival is the most accurate front member of no higher cost. ``confidence`` is the
    probability, judged by the rows measured so far, that all rows would show the subnet no better.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    confidence: float = Field(default=0.9, ge=0.5, lt=1.0)


class Hits(BaseModel):
    """Which of a search's rows a subnet gets right.

    ``bits`` is Base64, eight rows a byte, the first row in the highest bit.
    """

    model_config = ConfigDict(frozen=True)

    rows: int = Field(ge=1)
    bits: str


class Rival(BaseModel):
    """Whom a subnet must surpass: another evaluation of the search, measured on every row."""

    model_config = ConfigDict(frozen=True)

    number: int
    hits: Hits


class GivenUp(BaseModel):
    """Where a subnet lost its race: after ``rows`` rows, against the evaluation ``rival``.

    ``bound`` is the rival's accuracy, ``chance`` the probability that all rows would have shown a
    higher one, and ``estimate`` the one that was expected of them, at most the bound.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    rival: int
    bound: float
    chance: float
    estimate: float
