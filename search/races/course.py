"""Racing: giving a subnet up once it will hardly surpass its rival any more.

A subnet and its rival, a subnet of no higher cost that was measured on every row, are compared row
by row (racing models on shared rows: Maron & Moore 1994, "Hoeffding Races"). What the rival gets
right is known of the rows to come, too: only where it is wrong can the subnet gain on it, and only
where it is right lose. Most rows tell nothing, as every subnet gets them right or every one wrong.
So those come first on which the first few subnets of the search, the pilots, disagree; and a row
to come counts by how many pilots got it right. How much more, or less, the subnet gains and loses
than pilots do is learned from the rows so far: both are Poisson counts with Gamma-distributed
rates, so what is to come is negative binomial (Gelman et al. 2013, "Bayesian Data Analysis",
section 2.6), and the race is over when it is unlikely to suffice (predictive probability: Herson
1979, "Predictive probability early termination plans for phase II clinical trials").
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elasticnas.api_schemas.racing import GivenUp, Hits

Bits = NDArray[np.bool_]
"""Which rows are right, shape (rows,), in the order of the dataset."""

PILOTS = 8
"""Subnets that are measured on every row before any race: they say which rows are contested."""
LAPS = 8
"""Into how many laps of equal length the rows are cut."""
SHORTEST_LAP = 32
"""Rows of a lap at least, so that a batch is worth its calls."""
DOUBT = 0.05
"""Pilots that got a row right, and as many that got it wrong, beside the real ones. The
more, the more the rows on which all pilots agree are taken to matter: with 0.1 what was expected of
subnets given up was 0.4 points below what all rows showed, with 0.05 0.1 to 0.2 (LoNAS on MiniLM,
SST-2, two searches)."""
PRIOR_EVENTS = 1.0
"""How many gains or losses it takes to believe in a rate of a subnet's own as much as in the
pilots'."""


def pack(bits: Bits) -> Hits:
    """Bits as they travel."""
    return Hits(rows=len(bits), bits=base64.b64encode(np.packbits(bits).tobytes()).decode())


def unpack(hits: Hits) -> Bits:
    """The bits of what travelled.

    Raises:
        ValueError: there are fewer bits than rows, or it is no Base64.
    """
    packed = np.frombuffer(base64.b64decode(hits.bits, validate=True), dtype=np.uint8)
    if 8 * len(packed) < hits.rows:
        raise ValueError(f"{8 * len(packed)} bits cannot say what became of {hits.rows} rows")
    return np.unpackbits(packed, count=hits.rows).astype(bool)


class Course:
    """The rows of a search in the order in which races are run, the most contested first.

    ``pilots`` are of shape (pilots, rows). Strata are rows that equally many pilots got right;
    within a stratum the order is random, but the same for all who know the pilots.
    """

    def __init__(self, pilots: Sequence[Bits]) -> None:
        right = np.sum(pilots, axis=0)
        contested = np.minimum(right, len(pilots) - right)
        shuffled = np.random.default_rng(0).permutation(len(right))
        self.order: NDArray[np.intp] = shuffled[np.argsort(-contested[shuffled], kind="stable")]
        """Row numbers, shape (rows,)."""
        self._share = (right + DOUBT) / (len(pilots) + 2 * DOUBT)
        self._all_right, self._all_wrong = right == len(pilots), right == 0

    @classmethod
    def laid_by(cls, pilots: Sequence[Hits]) -> Course | None:
        """The course of what travelled; None without pilots."""
        return cls([unpack(hits) for hits in pilots]) if pilots else None

    @property
    def laps(self) -> tuple[int, ...]:
        """How many rows have been run at the end of each lap; the last is all."""
        rows = len(self.order)
        count = int(np.clip(rows // SHORTEST_LAP, 1, LAPS))
        return tuple(rows * lap // count for lap in range(1, count + 1))

    def standing(self, hits: Bits, rival: Bits, *, rows: int) -> Standing:
        """How a subnet stands against its rival after the first ``rows`` of the course.

        ``hits`` and ``rival`` are of all rows; of ``hits`` only those already run are looked at.
        """
        run, coming = self.order[:rows], self.order[rows:]
        # Where the rival alone is right, or wrong, subnets do not agree after all.
        alone = (self._all_wrong & rival) | (self._all_right & ~rival)
        share = np.where(alone, 0.5, self._share)
        gains = _Ahead.of(hits[run] & ~rival[run], run, coming, ~rival, share)
        losses = _Ahead.of(~hits[run] & rival[run], run, coming, rival, 1 - share)
        lead = gains.events - losses.events
        # Ahead by one row at the end, or more: for each number of gains, few enough losses.
        most_lost = np.arange(gains.most + 1) + lead - 1
        right = int(np.sum(rival))
        expected = (right + lead + gains.expected - losses.expected) / len(rival)
        return Standing(
            rows=rows,
            rival=right / len(rival),
            chance=float(gains.chances @ losses.at_most(most_lost)),
            estimate=float(np.clip(expected, 0.0, 1.0)),
        )

    def lost_at(self, hits: Bits, rival: Bits, confidence: float) -> Standing | None:
        """Where a subnet known on all rows loses its race; None when it runs to the last lap."""
        standings = (self.standing(hits, rival, rows=rows) for rows in self.laps[:-1])
        return next((found for found in standings if found.is_lost(confidence)), None)


@dataclass(frozen=True)
class Standing:
    """A race after ``rows`` rows, against a ``rival`` of this accuracy.

    ``chance`` is the probability that all rows would show a higher one, ``estimate`` the expected.
    """

    rows: int
    rival: float
    chance: float
    estimate: float

    def is_lost(self, confidence: float) -> bool:
        """True when the race is over."""
        return self.chance <= 1 - confidence

    def against(self, number: int) -> GivenUp:
        """The end of a race that is lost to evaluation ``number``."""
        return GivenUp(
            rows=self.rows,
            rival=number,
            bound=self.rival,
            chance=self.chance,
            estimate=min(self.estimate, self.rival),
        )


@dataclass(frozen=True)
class _Ahead:
    """Rows on which a subnet differs from its rival in one way: ``events`` so far, and to come.

    At most ``most`` are to come, and as many as in a negative binomial distribution of ``shape``
    and ``probability``.
    """

    events: int
    most: int
    shape: float
    probability: float

    @classmethod
    def of(
        cls,
        events: Bits,
        run: NDArray[np.intp],
        coming: NDArray[np.intp],
        possible: Bits,
        rate: NDArray[np.float64],
    ) -> _Ahead:
        """``events`` (run,); ``possible`` and ``rate``, the pilots', are of all rows (rows,)."""
        so_far = float(np.sum(rate[run][possible[run]])) + PRIOR_EVENTS
        still = float(np.sum(rate[coming][possible[coming]]))
        count = int(np.sum(events))
        return cls(
            events=count,
            most=int(np.sum(possible[coming])),
            shape=PRIOR_EVENTS + count,
            probability=so_far / (so_far + still),
        )

    @property
    def expected(self) -> float:
        """The mean of those to come."""
        mean = self.shape * (1 - self.probability) / self.probability
        return min(mean, float(self.most))

    @property
    def chances(self) -> NDArray[np.float64]:
        """The probabilities that 0, 1, ..., ``most`` are to come: shape (most + 1,)."""
        from scipy.stats import nbinom  # half a second that no server waits for at its start

        chances = nbinom.pmf(np.arange(self.most + 1), self.shape, self.probability)
        return np.asarray(chances / np.sum(chances))

    def at_most(self, counts: NDArray[np.int_]) -> NDArray[np.float64]:
        """The probabilities that no more than ``counts`` (n,) are to come."""
        from scipy.stats import nbinom

        below = nbinom.cdf(np.minimum(counts, self.most), self.shape, self.probability)
        return np.asarray(below / nbinom.cdf(self.most, self.shape, self.probability))
