"""Who races whom in a search, and what its strategy is told of those who lose."""

from __future__ import annotations

import numpy as np

from api_schemas.costs import CostReport
from api_schemas.racing import Hits, Racing, Rival
from search.objectives import Objectives
from search.pareto import Losses, ParetoArchive
from search.racing import PILOTS, Course, unpack


class Races:
    """Chooses a rival for each subnet that is about to be evaluated.

    All of it follows from what a strategy has been told, so a search that is rebuilt from its rows
    runs the same races. For that, an evaluation known in full, which a race would have given up,
    is told as if it had been given up, and is nobody's rival.

    ``objectives`` hold one metric, accuracy.
    """

    def __init__(self, racing: Racing, objectives: Objectives) -> None:
        self._confidence = racing.confidence
        self._objectives = objectives
        self._metric = objectives.names.index(objectives.metrics[0])
        self._front = ParetoArchive(objectives.reference)
        self._hits: dict[int, Hits] = {}
        self._rivals: dict[int, int] = {}
        self._first: list[int] = []
        self._course: Course | None = None

    @property
    def pilots(self) -> tuple[Hits, ...]:
        """The subnets that the course is laid by; none until there is one."""
        return tuple(self._hits[number] for number in self._first) if self._course else ()

    def measured(self, number: int, hits: Hits) -> None:
        """An evaluation has been measured on every row."""
        self._hits[number] = hits

    def choose(self, number: int, cost: CostReport) -> None:
        """Find the rival of a subnet of this cost: the best of no higher cost that was told."""
        if self._course is None:
            return
        losses = self._objectives.failure_losses(cost.values())
        costs = np.arange(len(losses)) != self._metric
        no_dearer = np.all(self._front.losses[:, costs] <= losses[costs], axis=1)
        places = [
            (float(loss), other)
            for loss, other, may in zip(
                self._front.losses[:, self._metric], self._front.numbers, no_dearer, strict=True
            )
            if may
        ]
        if places:
            self._rivals[number] = min(places)[1]

    def set(self, number: int, rival: int) -> None:
        """The rival that was chosen for a subnet when its evaluation began."""
        self._rivals[number] = rival

    def rival(self, number: int) -> Rival | None:
        """Whom a subnet that was not told yet must surpass; None: it is measured on every row."""
        rival = self._rivals.get(number)
        if rival is None or rival not in self._hits:
            return None
        return Rival(number=rival, hits=self._hits[rival])

    def tell(self, number: int, losses: Losses) -> Losses:
        """What a strategy is told of an evaluation that came to ``losses`` (m,)."""
        rival = self.rival(number)
        self._rivals.pop(number, None)
        if number not in self._hits:
            return losses
        if rival is not None and self._course is not None:
            found = self._course.lost_at(
                unpack(self._hits[number]), unpack(rival.hits), self._confidence
            )
            if found is not None:
                told = losses.copy()
                told[self._metric] = 1.0 - found.estimate
                return told
        self._front.add(number, losses)
        if self._course is None:
            self._first.append(number)
            if len(self._first) == PILOTS:
                self._course = Course([unpack(self._hits[pilot]) for pilot in self._first])
        return losses
