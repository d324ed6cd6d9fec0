"""The rivals of a search: which evaluated subnet each new one races against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from elasticnas.api_schemas.costs import CostReport
from elasticnas.api_schemas.racing import GivenUp, Hits, Racing, Rival
from elasticnas.search.objectives import Objectives
from elasticnas.search.pareto import Losses, ParetoArchive
from elasticnas.search.races.course import PILOTS, Course, unpack


class Races:
    """Chooses a rival for each subnet that is about to be evaluated, and judges the races.

    All of it follows from what a strategy has been told, so a search that is rebuilt from its rows
    runs the same races. ``pilots`` are the evaluations that the course was laid by, once it was: a
    failed one that is measured after all does not lay it anew. ``objectives`` hold one metric,
    accuracy.
    """

    def __init__(
        self, racing: Racing, objectives: Objectives, pilots: Sequence[int] | None = None
    ) -> None:
        self._confidence = racing.confidence
        self._objectives = objectives
        self._costs = np.array([name not in objectives.metrics for name in objectives.names])
        self._front = ParetoArchive(objectives.reference)
        self._hits: dict[int, Hits] = {}
        self._rivals: dict[int, int] = {}
        self._races_against: Counter[int] = Counter()
        """How many untold evaluations each rival still has to be held against."""
        self._first = list(pilots or ())
        self._told = 0

    @property
    def pilots(self) -> tuple[int, ...] | None:
        """The evaluations that the course is laid by; None before it is."""
        return tuple(self._first) if len(self._first) == PILOTS else None

    @property
    def course_hits(self) -> tuple[Hits, ...]:
        """The hits of the pilots; none before the course is laid."""
        return tuple(self._hits[pilot] for pilot in self.pilots or ())

    @cached_property
    def _course(self) -> Course:
        return Course([unpack(hits) for hits in self.course_hits])

    def measured(self, number: int, hits: Hits) -> None:
        """An evaluation has been measured on every row."""
        self._hits[number] = hits

    def choose(self, number: int, cost: CostReport) -> None:
        """Find the rival of a subnet of this cost: the best of no higher cost that was told.

        A subnet that was proposed before the pilots were told has none, whenever it is asked for.
        """
        if self.pilots is None or self._told <= max(self.pilots):
            return
        losses = self._objectives.failure_losses(cost.values())
        front = self._front.losses
        no_dearer = np.all(front[:, self._costs] <= losses[self._costs], axis=1)
        metric = front[:, ~self._costs][:, 0]
        places = [
            (float(loss), other)
            for loss, other, may in zip(metric, self._front.numbers, no_dearer, strict=True)
            if may
        ]
        if places:
            self.set(number, min(places)[1])

    def set(self, number: int, rival: int) -> None:
        """The rival that was chosen for a subnet when its evaluation began."""
        self._rivals[number] = rival
        self._races_against[rival] += 1

    def rival(self, number: int) -> Rival | None:
        """Whom a subnet that was not told yet must surpass; None: it is measured on every row."""
        rival = self._rivals.get(number)
        return None if rival is None else Rival(number=rival, hits=self._hits[rival])

    def judge(self, number: int, hits: Hits) -> GivenUp | None:
        """Where a subnet whose every row is known would have been given up; None if nowhere."""
        if (rival := self.rival(number)) is None:
            return None
        lost = self._course.lost_at(unpack(hits), unpack(rival.hits), self._confidence)
        return None if lost is None else lost.against(rival.number)

    def tell(self, number: int, losses: Losses) -> None:
        """An evaluation has come to ``losses`` (m,), and its strategy knows."""
        self._told = number + 1
        if (rival := self._rivals.pop(number, None)) is not None:
            self._races_against[rival] -= 1
            self._forget(rival)
        if number not in self._hits:
            return
        change = self._front.add(number, losses)
        if len(self._first) < PILOTS:
            self._first.append(number)
        for other in (number, *change.left):
            self._forget(other)

    def _forget(self, number: int) -> None:
        """Drop the hits of one told evaluation if nobody will be compared with it any more.

        Of one alone: to look through all, for each result, would make a restore quadratic.
        """
        is_needed = (
            self._races_against[number] > 0
            or number in self._first
            or number in self._front.numbers
        )
        if not is_needed:
            self._hits.pop(number, None)
            del self._races_against[number]
